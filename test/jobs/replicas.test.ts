import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { CreateJobRequestSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { openReadModel } from '../../projections/read-model/read-model.js';
import { unrestricted } from '../../src/domain/access.js';
import type { Command } from '../../src/domain/commands.js';
import { equalShares } from '../../src/domain/placement/shares.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { type EventStore, StoreUnavailable } from '../../src/eventstore/port.js';
import type { ExclusionRules } from '../../src/exclusions/rules.js';
import { openRepositories } from '../../src/git/repositories.js';
import { serverItself } from '../../src/jobs/caller.js';
import type { JobsContext } from '../../src/jobs/context.js';
import { jobCreator } from '../../src/jobs/deciding/create-job.js';
import { reusableFinder } from '../../src/jobs/deciding/find-reusable.js';
import { openQuotas } from '../../src/jobs/deciding/quotas.js';
import { jobRetrier } from '../../src/jobs/deciding/retry-job.js';
import { openJobStreams } from '../../src/jobs/job-streams.js';
import { ownWrites } from '../../src/jobs/own-writes.js';
import { openReservations } from '../../src/jobs/running/reservations.js';
import { makeProject } from '../support/project.js';

// Two servers on one store, as the use cases see them: each with a read model, locks and memory of its own.

type Wish = MessageInitShape<typeof CreateJobRequestSchema>;
type Pause = () => Promise<void>;

const callerOf = (principal: string) => ({
  ...serverItself(systemEdge),
  principal,
  access: unrestricted(principal),
});

const noExclusions = {
  any: () => false,
  position: () => ({ standing: 0, changed: 0, followed: undefined }),
} as unknown as ExclusionRules;

async function twoServers(t: ExecutionContext) {
  const project = makeProject();
  const directory = mkdtempSync(join(tmpdir(), 'memoir-replicas-'));
  const url = sqliteUrl(join(directory, 'events.sqlite'));
  const store = { ...(await openStore(url, systemEdge)), exclusive: false };
  const repositories = await openRepositories({ project: { path: project.repository.path } });
  const closers = [() => store.close(), () => repositories.close()];
  t.teardown(async () => {
    for (const close of closers.reverse()) await close();
    rmSync(directory, { recursive: true });
    project.repository.dispose();
  });

  /** A server that stops for a while once the commit is resolved, and once it has decided. */
  /** Appends to streams with this prefix fail from now on, so often: a server that dies there. */
  const dying = { prefix: '', times: 0 };
  const mortal: EventStore = {
    ...store,
    append(stream, ...more) {
      if (dying.times === 0 || !stream.startsWith(dying.prefix)) return store.append(stream, ...more);
      dying.times--;
      return Promise.reject(new StoreUnavailable('the server died'));
    },
  };

  async function server(
    name: string,
    resolved: Pause = async () => {},
    decided: Pause = async () => {},
    sharesRuns = false,
  ) {
    const readModel = await openReadModel(url, join(directory, name));
    closers.push(() => readModel.close());
    await readModel.caughtUp();
    const written = ownWrites(readModel);
    const context = {
      store: mortal,
      readModel,
      written,
      edge: systemEdge,
      serverVersion: name,
      recordIntentions: true,
      shares: equalShares,
      sharesRuns,
      quotas: openQuotas(readModel, equalShares),
      reservations: openReservations(readModel, systemEdge, 0),
      preferOthersMs: 0,
      streams: openJobStreams(mortal, systemEdge, name, written, readModel),
      reuseIfOutputsDiffer: false,
      images: { default: () => undefined },
      repositories: {
        ...repositories,
        askedBy: () => ({
          async resolve(repository: string, refspec: string) {
            const commit = await repositories.resolve(repository, refspec);
            await resolved();
            return commit;
          },
        }),
      },
    } as unknown as JobsContext;
    const find = reusableFinder(context, noExclusions);
    const createJob = jobCreator(context, async (wanted) => {
      const found = await find(wanted);
      await decided();
      return found;
    });
    const ask = (wish: Wish, principal = 'memoir') => {
      const work = { repository: 'project', script: 'run.sh', scriptVersion: 'main' };
      return createJob(callerOf(principal), create(CreateJobRequestSchema, { ...work, ...wish }));
    };
    const retryJob = jobRetrier(context, find);
    const retry = (uuid: string, principal = 'memoir', priority?: number) =>
      retryJob(callerOf(principal), uuid, priority);
    return { ask, retry, retryAs: retryJob, readModel, streams: context.streams };
  }
  /** Types of the events of the log. */
  async function types() {
    const found: string[] = [];
    for await (const { type } of store.readAll()) found.push(type);
    return found;
  }
  return Object.assign(server, { dying, types });
}

test('a run that another server made after the decision is not counted as one that was decided on', async (t) => {
  const server = await twoServers(t);
  const one = await server('one');
  let made = '';
  let decisions = 0;
  const other = await server('other', undefined, async () => {
    // The second decision is the one taken under the lock, by which the run is made.
    if (++decisions !== 2) return;
    const { job, position } = await one.ask({ findOrCreate: true });
    made = job.uuid;
    await other.readModel.waitFor(position);
  });
  const answer = await other.ask({ findOrCreate: true });
  t.is(answer.job.uuid, made);
  t.is(answer.decision.outcome, Outcome.REUSED_QUEUED);
});

test('a job that another server made for the same submit_id meanwhile is the answer', async (t) => {
  const server = await twoServers(t);
  const one = await server('one');
  let made = '';
  const other = await server('other', async () => {
    if (made !== '') return;
    const { job, position } = await one.ask({ submitId: 's' });
    made = job.uuid;
    await other.readModel.waitFor(position);
  });
  const answer = await other.ask({ submitId: 's' });
  t.is(answer.job.uuid, made);
  t.is(answer.decision.outcome, Outcome.RETRIED);
});

test('of different requests with one submit_id at two servers at once one is answered, the other refused', async (t) => {
  const server = await twoServers(t);
  const servers = [await server('one'), await server('other')];
  for (let round = 0; round < 10; round++) {
    const asked = [0, 1].map((i) => servers[i]?.ask({ submitId: `${round}`, scriptParameters: { round, i } }));
    const settled = await Promise.allSettled(asked);
    const refused = settled.filter((answer) => answer.status === 'rejected');
    t.deepEqual(
      refused.map(({ reason }) => reason.reason),
      ['SUBMIT_ID_USED'],
      `round ${round}`,
    );
  }
});

test('what a server that died had intended for a submit_id, another answers and completes', async (t) => {
  const server = await twoServers(t);
  const [one, other] = [await server('one'), await server('other')];
  const wish = { submitId: 'made', scriptParameters: { deep: ['é'] }, description: 'd', components: {} };
  server.dying.prefix = 'job-';
  server.dying.times = 1;
  await t.throwsAsync(one.ask(wish), { instanceOf: StoreUnavailable });
  t.deepEqual(await server.types(), ['SubmissionIntended']);
  // Other content is refused although nothing was made yet.
  await t.throwsAsync(other.ask({ ...wish, description: 'e' }), { message: /"made" was used for another request/ });
  const made = await other.ask(wish);
  t.is(made.decision.outcome, Outcome.RETRIED);
  t.deepEqual([made.job.scriptParameters, made.job.description], [wish.scriptParameters, 'd']);
  t.is((await one.ask(wish)).job.uuid, made.job.uuid);

  // So that neither of them intends to make what the other has made.
  await Promise.all([one, other].map(({ readModel }) => readModel.waitFor(made.position)));
  server.dying.prefix = 'reuse-';
  server.dying.times = 1;
  const again = { submitId: 'found', findOrCreate: true, scriptParameters: wish.scriptParameters };
  await t.throwsAsync(one.ask(again), { instanceOf: StoreUnavailable });
  for (const { ask } of [other, one, other]) {
    const answer = await ask(again);
    t.deepEqual([answer.job.uuid, answer.decision.outcome], [made.job.uuid, Outcome.RETRIED]);
  }
  t.deepEqual(await server.types(), ['SubmissionIntended', 'JobRequested', 'SubmissionIntended', 'JobReused']);
});

test("a submission whose run became another request's is decided anew", async (t) => {
  const server = await twoServers(t);
  const one = await server('one');
  server.dying.prefix = 'job-';
  server.dying.times = 1;
  await t.throwsAsync(one.ask({ submitId: 's' }), { instanceOf: StoreUnavailable });
  const first = await one.ask({});
  const second = await one.ask({ submitId: 's' });
  t.deepEqual([first.job.runNumber, second.job.runNumber, second.reused], [1, 2, false]);
  t.is((await one.ask({ submitId: 's' })).job.uuid, second.job.uuid);
});

test('200 concurrent find_or_creates at two servers make one job', async (t) => {
  const server = await twoServers(t);
  const servers = [await server('one'), await server('other')];
  for (let round = 0; round < 5; round++) {
    const wish = { findOrCreate: true, scriptParameters: { round } };
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => servers[i % 2]?.ask(wish)));
    t.is(new Set(answers.map((answer) => answer?.job.uuid)).size, 1, `round ${round}`);
    t.is(answers.filter((answer) => !answer?.reused).length, 1);
  }
});

const leaving = {
  kind: 'leave',
  principal: 'ada',
  reason: 'WITHDRAWN',
  cascadeFrom: '',
  cascade: false,
  now: 0,
} as const;
const claim = { kind: 'start', worker: 'w', leaseMs: 60_000, now: 0 } as const;
const completion = { kind: 'complete', worker: 'w', output: 'o', log: 'l', now: 0 } as const;
const meanwhile: Record<string, [before: Command[], between: Command, outcome: Outcome, same: boolean]> = {
  'its only interest was withdrawn': [[], leaving, Outcome.CREATED_NO_MATCH, false],
  // What was intended for the submit_id still stands, and is carried out: it is no repeat.
  'it was claimed': [[], claim, Outcome.REUSED_QUEUED, true],
  'it was completed': [[claim], completion, Outcome.REUSED_COMPLETE, true],
};

for (const [what, [before, between, outcome, same]] of Object.entries(meanwhile)) {
  test(`a join is decided anew, or carried out as intended, if ${what} at another server after the decision`, async (t) => {
    const server = await twoServers(t);
    const one = await server('one', undefined, undefined, true);
    const caller = callerOf('ada');
    let uuid = '';
    let happened = false;
    const other = await server(
      'other',
      undefined,
      async () => {
        if (happened || uuid === '') return;
        happened = true;
        await one.streams.execute(caller, uuid, between);
      },
      true,
    );
    const made = await one.ask({ findOrCreate: true }, 'ada');
    let { position } = made;
    for (const command of before) ({ position } = await one.streams.execute(caller, made.job.uuid, command));
    await other.readModel.waitFor(position);
    uuid = made.job.uuid;
    const answer = await other.ask({ findOrCreate: true, submitId: 's' }, 'bob');
    t.true(happened);
    t.is(answer.decision.outcome, outcome);
    t.is(answer.job.uuid === uuid, same);
    t.is((await one.ask({ findOrCreate: true, submitId: 's' }, 'bob')).job.uuid, answer.job.uuid);
  });
}

test('a join that a server which died had intended is completed by another, once', async (t) => {
  const server = await twoServers(t);
  const [one, other] = [
    await server('one', undefined, undefined, true),
    await server('other', undefined, undefined, true),
  ];
  const made = await one.ask({ findOrCreate: true }, 'ada');
  await other.readModel.waitFor(made.position);
  server.dying.prefix = 'job-';
  server.dying.times = 1;
  const wish = { findOrCreate: true, submitId: 's' };
  await t.throwsAsync(one.ask(wish, 'bob'), { instanceOf: StoreUnavailable });
  for (const { ask } of [other, one, other]) t.is((await ask(wish, 'bob')).job.uuid, made.job.uuid);
  t.deepEqual(await server.types(), ['JobRequested', 'SubmissionIntended', 'JobJoined']);
});

/** Two servers that share runs, and a job of ada's that she gave up. */
async function withCancelled(t: ExecutionContext, wish: Wish = {}) {
  const server = await twoServers(t);
  const one = await server('one', undefined, undefined, true);
  const other = await server('other', undefined, undefined, true);
  const { job } = await one.ask(wish, 'ada');
  const { record } = await one.streams.execute(callerOf('ada'), job.uuid, leaving);
  return { server, one, other, old: record.job };
}

test('however many ask two servers to run a job again, beside requests for the same, one new job is the answer to all', async (t) => {
  const { server, one, other, old } = await withCancelled(t);
  let again = 0;
  for (let round = 0, { uuid } = old; round < 5; round++) {
    const before = (await server.types()).filter((type) => type === 'JobRequested').length;
    const asked = Array.from({ length: 20 }, (_, i) => (i % 2 ? one : other).retry(uuid, i % 3 ? 'ada' : 'bob'));
    // Requests are there first, since they have less to look up.
    const beside = round % 2 ? [one, other].map(({ ask }) => ask({ findOrCreate: true }, 'eve')) : [];
    const answers = [...(await Promise.all(asked)), ...(await Promise.all(beside))];
    t.is(new Set(answers.map(({ job }) => job.uuid)).size, 1, `round ${round}`);
    t.is(answers.filter(({ reused }) => !reused).length, 1, `round ${round}`);
    t.is((await server.types()).filter((type) => type === 'JobRequested').length, before + 1);
    const [{ job }] = answers as [(typeof answers)[number]];
    if (job.retryOf !== '') {
      again++;
      t.is(job.retryOf, uuid);
    }
    ({ uuid } = job);
    const { record } = await one.streams.execute(callerOf('ada'), uuid, {
      kind: 'cancel',
      principal: 'ada',
      cascadeFrom: '',
      now: 0,
    });
    t.is(record.job.state, JobState.CANCELLED);
  }
  t.true(again >= 3, `${again} of 5 were made by a retry`);
});

test('a job is not run again beside another run of the same work: who asks for that joins the other, and is answered with what is complete', async (t) => {
  const { server, one, other, old } = await withCancelled(t);
  const beside = await one.ask({}, 'eve');
  const joined = await other.retry(old.uuid, 'ada', 5);
  t.like(joined, {
    retryOf: old.uuid,
    reused: true,
    job: { uuid: beside.job.uuid, retryOf: '', interestCount: 2, priority: 5 },
  });
  t.like(await other.retry(old.uuid, 'ada', 5), { reused: true, job: { uuid: beside.job.uuid, interestCount: 2 } });
  t.deepEqual((await server.types()).slice(-3), ['JobRequested', 'JobJoined', 'JobReused']);
  // A work of another commit, of other labels, or under way for who may not read it, is another.
  await one.streams.execute(callerOf('w'), beside.job.uuid, claim);
  const done = await one.streams.execute(callerOf('w'), beside.job.uuid, completion);
  await other.readModel.waitFor(done.position);
  t.like(await other.retry(old.uuid, 'bob'), {
    reused: true,
    job: { uuid: beside.job.uuid, state: JobState.COMPLETE },
  });
  t.false((await server.types()).includes('JobRetryIntended'));
});

test('other work of the same computation is no reason not to run a job again', async (t) => {
  const { one, other, old } = await withCancelled(t, { requiredLabels: { gpu: 'a100' } });
  await one.ask({ requiredLabels: { gpu: 'h100' } }, 'eve');
  t.like(await other.retry(old.uuid, 'ada'), { reused: false, job: { retryOf: old.uuid, runNumber: 3 } });
});

test('a retry that a server which died had intended is completed by whoever asks again, as it was intended', async (t) => {
  const wish = {
    scriptParameters: { deep: ['é'] },
    labels: { team: 'imaging' },
    requiredLabels: { gpu: 'a100' },
    requireOutput: true,
    nondeterministic: true,
    runtimeConstraints: { minCoresPerNode: 2 },
    limits: { run: { seconds: 60n } },
    retry: { failed: 2 },
    priority: 3,
    description: 'd',
    components: { part: '6474a05f-fc92-48bb-bbc8-600098820550' },
  };
  const { server, one, other, old } = await withCancelled(t, wish);
  server.dying.prefix = 'job-';
  server.dying.times = 1;
  await t.throwsAsync(one.retry(old.uuid, 'bob', 7), { instanceOf: StoreUnavailable });
  t.is((await server.types()).at(-1), 'JobRetryIntended');
  const { job, reused } = await other.retry(old.uuid, 'ada', 9);
  t.true(reused);
  t.like(job, { owner: 'bob', priority: 7, retryOf: old.uuid, runNumber: 2, submitId: '', components: {} });
  for (const field of [
    'repository',
    'script',
    'scriptVersion',
    'scriptParameters',
    'computationDigest',
    'labels',
    'requiredLabels',
    'requireOutput',
    'nondeterministic',
    'leaveLfsPointers',
    'leaveSubmodules',
    'runtimeConstraints',
    'limits',
    'retry',
    'description',
    'dockerImageLocator',
    'arvadosSdkVersion',
  ] as const) {
    t.deepEqual(job[field], old[field], field);
  }
  t.is((await one.retry(old.uuid, 'bob')).job.uuid, job.uuid);
  t.deepEqual((await server.types()).slice(-2), ['JobRetryIntended', 'JobRequested']);
});

test("a retry whose run became another request's is answered with that while it is unfinished, and is the next run after it", async (t) => {
  const { server, one, other, old } = await withCancelled(t);
  server.dying.prefix = 'job-';
  server.dying.times = 1;
  await t.throwsAsync(one.retry(old.uuid), { instanceOf: StoreUnavailable });
  const first = await one.ask({});
  t.like(await other.retry(old.uuid), { reused: true, job: { uuid: first.job.uuid, runNumber: 2 } });
  await one.streams.execute(callerOf('memoir'), first.job.uuid, { ...leaving, principal: 'memoir' });
  const { job, reused } = await other.retry(old.uuid);
  t.deepEqual([job.runNumber, job.retryOf, reused], [3, old.uuid, false]);
  t.like(await one.retry(old.uuid), { job: { uuid: job.uuid }, reused: true });
});

test('what cannot be run again is refused, and nothing is recorded', async (t) => {
  const { server, one, other, old } = await withCancelled(t);
  const before = await server('before');
  const queued = (await one.ask({ scriptParameters: { of: 'queued' } }, 'ada')).job.uuid;
  const remade = (await one.retry(old.uuid, 'ada')).job.uuid;
  const remove = { kind: 'delete', principal: 'ada', now: 0 } as const;
  await one.streams.execute(callerOf('ada'), remade, leaving);
  await one.streams.execute(callerOf('ada'), remade, remove);
  const gone = (await one.ask({ scriptParameters: { of: 'gone' } }, 'ada')).job.uuid;
  for (const command of [leaving, remove]) await one.streams.execute(callerOf('ada'), gone, command);
  const reader = { ...callerOf('rita'), access: { ...unrestricted('rita'), submits: () => false } };
  const types = await server.types();
  const refused = (of: { retry: typeof one.retry }, uuid: string, reason: string, message: RegExp) =>
    t.throwsAsync(of.retry(uuid), { message }).then((error) => t.like(error, { reason }));
  await refused(other, queued, 'JOB_NOT_RETRIABLE', /is Queued: only one that is Failed or Cancelled/);
  await refused(other, gone, 'JOB_NOT_FOUND', /there is no job/);
  await refused(
    other,
    old.uuid,
    'JOB_DELETED',
    new RegExp(`job ${remade}, which ran job ${old.uuid} again, was deleted`),
  );
  await refused(before, old.uuid, 'LOG_FORMAT_NOT_ALLOWED', /needs log format 4/);
  await t.throwsAsync(one.retryAs(reader, old.uuid), {
    message: /"rita" may not request jobs of repository "project"/,
  });
  t.deepEqual(await server.types(), types);
});
