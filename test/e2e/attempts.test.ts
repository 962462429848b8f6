import { randomBytes } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequestSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { systemEdge } from '../../src/edge.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

const project = makeProject();

/** One server for all, whose clocks stand unless a test moves them. */
const clock = { wall: 1_700_000_000_000, monotonic: 1_000, looks: 0 };
const edge = {
  ...systemEdge,
  now: () => clock.wall,
  monotonic() {
    clock.looks++;
    return clock.monotonic;
  },
  random: () => 0.5,
};
let server: TestServer;
test.before(async () => {
  server = await startTestServer({ repositories: { project: project.repository.path }, edge });
});
test.after.always(async () => {
  await server?.dispose();
  project.repository.dispose();
});

/** Lets time pass at once, in which no lease is counted. */
function skip(seconds: number) {
  clock.monotonic += seconds * 1_000;
}

/** Lets time pass, so that the server looks at the leases once a second. */
async function pass(seconds: number) {
  for (let i = 0; i <= seconds; i++) {
    if (i > 0) clock.monotonic += 1_000;
    const end = clock.looks + 3;
    await until('a look at the leases', () => clock.looks >= end);
  }
}

const lease = { seconds: 1n };
const token = () => Uint8Array.from(randomBytes(32));
const clients = () => ({ ada: server.as('ada'), bob: server.as('bob') });
type Wish = MessageInitShape<typeof CreateJobRequestSchema>;

let made = 0;
const requested = async (more: Wish = {}) =>
  uuidOf(await request(server.as('ada'), { scriptParameters: { attempt: ++made }, ...more }));

async function get(uuid: string): Promise<Job> {
  const { job } = await server.as('bob').jobs.getJob({ uuid });
  if (!job) throw new Error(`no job ${uuid}`);
  return job;
}

/** Claims a job once its back-off has passed. */
async function claim(uuid: string, principal = 'bob') {
  const claimToken = token();
  for (let tries = 0; ; tries++) {
    try {
      await server.as(principal).worker.claimJob({ uuid, lease, claimToken, workerName: 'cellar' });
      return { uuid, claimToken };
    } catch (error) {
      if ((error as { reason?: string }).reason !== 'BACKING_OFF' || tries > 20) throw error;
      skip(400);
    }
  }
}

/** Lets the lease of a job run out: how often the server looks at leases while time passes is its own affair. */
async function lose(uuid: string) {
  await until('the attempt has ended', async () => {
    await pass(1);
    return (await get(uuid)).state !== JobState.RUNNING;
  });
}

async function ended(t: ExecutionContext, call: () => Promise<unknown>) {
  const error = await failure(t, call);
  t.is(error.reason, 'ATTEMPT_ENDED');
  t.regex(error.message, /attempt 1 of job .* has ended: LEASE_EXPIRED|does not speak for attempt 2/);
}

test.serial(
  'what an earlier attempt of the same principal says after another claim is refused, whatever it is',
  async (t) => {
    const { ada, bob } = clients();
    const uuid = await requested();
    const first = await claim(uuid);
    await bob.worker.appendJobLog([{ ...first, text: 'of the first', offset: 0n }]);
    await lose(uuid);
    // While it is queued, and after another claim.
    await ended(t, () => bob.worker.appendJobLog([{ ...first, text: '!', offset: 12n }]));
    await ended(t, () => bob.worker.failJob({ ...first, reason: 'X' }));
    const second = await claim(uuid);
    const before = await server.end();
    await ended(t, () => bob.worker.completeJob({ ...first, output: 'o', log: 'l' }));
    await ended(t, () => bob.worker.failJob({ ...first, reason: 'X' }));
    await ended(t, () => bob.worker.heartbeat(first));
    await ended(t, () => bob.worker.appendJobLog([{ ...first, text: '!', offset: 12n }]));
    t.is((await failure(t, () => bob.worker.claimJob({ ...first, lease }))).code, 9);
    t.is(await server.end(), before, 'nothing of it was recorded');
    const { size } = await bob.worker.appendJobLog([{ ...second, text: 'of the second', offset: 0n }]);
    t.is(size, 13n);
    await bob.worker.completeJob({ ...second, output: 'sha256:o', log: 'sha256:l' });
    const job = await get(uuid);
    t.like(job, { state: JobState.COMPLETE, output: 'sha256:o', attemptCount: 2 });
    t.like(job.attempts[0], {
      number: 1,
      worker: 'bob',
      workerName: 'cellar',
      fault: Fault.WORKER,
      reason: 'LEASE_EXPIRED',
    });
    t.like(job.attempts[1], { number: 2, fault: Fault.UNSPECIFIED, reason: '', output: 'sha256:o' });
    // The live log tells where the second begins, and may be read from there.
    const told = await collect(ada.jobs.tailJobLog({ uuid }));
    t.deepEqual(
      told.map(({ attempt, offset, text }) => [attempt, offset, text]),
      [
        [1, 0n, 'of the first'],
        [2, 0n, ''],
        [2, 0n, 'of the second'],
      ],
    );
    const later = await collect(ada.jobs.tailJobLog({ uuid, attempt: 2, offset: 7n }));
    t.deepEqual(
      later.map(({ attempt, text }) => [attempt, text]),
      [[2, 'second']],
    );
  },
);

test.serial('a worker that was cut off takes its job back while nobody claimed it, and goes on', async (t) => {
  const { ada, bob } = clients();
  const uuid = await requested();
  const held = await claim(uuid);
  await bob.worker.heartbeat({ ...held, progress: 0.5 });
  await lose(uuid);
  t.like(await get(uuid), { state: JobState.QUEUED, claimedBy: '', startedAt: undefined });
  const { state } = await bob.worker.heartbeat({ ...held, progress: 0.6 });
  t.is(state, JobState.RUNNING);
  t.like(await get(uuid), { state: JobState.RUNNING, claimedBy: 'bob', progress: 0.6, attemptCount: 1 });
  await bob.worker.appendJobLog([{ ...held, text: 'on', offset: 0n }]);
  await lose(uuid);
  // Its completion takes it back too, in one append.
  await bob.worker.completeJob({ ...held, output: 'sha256:o', log: 'sha256:l' });
  await bob.worker.completeJob({ ...held, output: 'sha256:o', log: 'sha256:l' });
  const job = await get(uuid);
  t.like(job, { state: JobState.COMPLETE, attemptCount: 1, claimedBy: 'bob' });
  t.like(job.attempts[0], { reason: '', output: 'sha256:o' });
  const events = await collect(ada.history.readHistory({ uuid }));
  t.deepEqual(
    events.map(({ event }) => event?.eventType),
    [
      'JobRequested',
      'JobStarted',
      'JobProgressed',
      'JobAttemptEnded',
      'JobResumed',
      'JobProgressed',
      'JobAttemptEnded',
      'JobResumed',
      'JobCompleted',
    ],
  );
});

test.serial(
  'a script that loses its worker each time is run as often as it may, and its failure says how each run ended',
  async (t) => {
    const { ada } = clients();
    const uuid = await requested({ retry: { lost: 2, minBackoff: { seconds: 1n } } });
    const changes = collect(ada.jobs.watchJob({ uuid }));
    for (let number = 1; number <= 3; number++) {
      await claim(uuid);
      t.is((await get(uuid)).attemptCount, number);
      await lose(uuid);
    }
    const job = await get(uuid);
    t.like(job, { state: JobState.FAILED, failureReason: 'LEASE_EXPIRED' });
    t.is(
      job.failureMessage.replaceAll('worker bob sent no heartbeat within its lease of 1 s', '…'),
      '…; before that, attempt 2 at bob (cellar) ended with LEASE_EXPIRED, …; attempt 1 at bob (cellar) ended with LEASE_EXPIRED, …',
    );
    t.deepEqual(
      job.attempts.map(({ reason, fault }) => [reason, fault]),
      Array.from({ length: 3 }, () => ['LEASE_EXPIRED', Fault.WORKER]),
    );
    t.deepEqual(
      (await changes).map(({ eventType }) => eventType),
      ['', 'JobStarted', 'JobAttemptEnded', 'JobStarted', 'JobAttemptEnded', 'JobStarted', 'JobFailed'],
    );
  },
);

test.serial('ten orderly restarts of a worker use up no attempt', async (t) => {
  const { bob } = clients();
  const uuid = await requested({ retry: { lost: 0 } });
  for (let i = 0; i < 10; i++) {
    const held = await claim(uuid);
    const report = { ...held, reason: 'WORKER_STOPPED', message: 'stopped', givenBack: true };
    const { job } = await bob.worker.failJob(report);
    t.is(job?.state, JobState.QUEUED);
    // Repeated, it is answered as the first time.
    t.is((await bob.worker.failJob(report)).job?.revision, job?.revision);
  }
  const held = await claim(uuid);
  await bob.worker.failJob({ ...held, reason: 'WORKER_FAILED', message: 'broken' });
  const job = await get(uuid);
  t.like(job, { state: JobState.FAILED, attemptCount: 11, failureReason: 'WORKER_FAILED' });
});

test.serial(
  'nobody is given a job before its back-off has passed here, by uuid or from the queue, and then it is',
  async (t) => {
    const { bob } = clients();
    const uuid = await requested({ retry: { failed: 2, minBackoff: { seconds: 10n }, maxBackoff: { seconds: 60n } } });
    const held = await claim(uuid);
    await bob.worker.failJob({ ...held, reason: 'SCRIPT_FAILED', message: 'exit 1', log: 'sha256:l' });
    const error = await failure(t, () => bob.worker.claimJob({ uuid, lease }));
    t.is(error.reason, 'BACKING_OFF');
    // Half of what may be left to chance is, between 10 s and 20 s.
    t.regex(error.message, /tried again 15 s after its last attempt ended/);
    t.is((await bob.worker.claimJob({ lease })).job, undefined);
    // Jumps of the wall clock change nothing of it.
    clock.wall += 86_400_000;
    t.is((await bob.worker.claimJob({ lease })).job, undefined);
    clock.wall -= 2 * 86_400_000;
    const waiting = bob.worker.claimJob({ lease, wait: { seconds: 200n } });
    skip(14);
    t.is((await get(uuid)).state, JobState.QUEUED);
    skip(2);
    t.is((await waiting).job?.uuid, uuid);
    t.is((await get(uuid)).attempts[0]?.log, 'sha256:l');
    clock.wall += 86_400_000;
  },
);

test.serial('a job that two workers have no place for has failed', async (t) => {
  const uuid = await requested();
  const states: unknown[] = [];
  for (const principal of ['bob', 'bob', 'eve']) {
    const held = await claim(uuid, principal);
    const said = { ...held, reason: 'NO_SPACE', message: 'full', fault: Fault.PLACE };
    states.push((await server.as(principal).worker.failJob(said)).job?.state);
  }
  t.deepEqual(states, [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]);
});

test.serial('OUT_OF_MEMORY asks for more memory the next time', async (t) => {
  const { bob } = clients();
  const offer = { ramMb: 10_000n };
  const uuid = await requested({
    retry: { failed: 1, ramFactor: 1.5, minBackoff: {} },
    runtimeConstraints: { minRamMbPerNode: 1_001 },
  });
  const claimToken = token();
  await bob.worker.claimJob({ uuid, claimToken, offer });
  const { job } = await bob.worker.failJob({ uuid, claimToken, reason: 'OUT_OF_MEMORY', message: 'killed' });
  t.is(job?.minima?.ramMb, 1_502n);
  const error = await failure(t, () => bob.worker.claimJob({ uuid, offer: { ramMb: 1_501n } }));
  t.is(error.reason, 'OFFER_DOES_NOT_FIT');
  await bob.worker.claimJob({ uuid, offer: { ramMb: 1_502n } });
});

test.serial('what is out of bounds is refused by name, and nothing is recorded', async (t) => {
  const { ada, bob } = clients();
  const cases: [Wish, field: string, naming: string | RegExp][] = [
    [{ retry: { lost: 101 } }, 'retry.lost', '101'],
    [{ retry: { failed: 2 ** 32 - 1 } }, 'retry.failed', '4294967295'],
    [{ retry: { minBackoff: { seconds: -1n } } }, 'retry.min_backoff', '-1 s'],
    [{ retry: { maxBackoff: { seconds: 604_801n } } }, 'retry.max_backoff', '604801 s'],
    [{ retry: { maxBackoff: { seconds: 2n ** 62n } } }, 'retry.max_backoff', '4611686018427387904'],
    [{ retry: { minBackoff: { seconds: 9n }, maxBackoff: { seconds: 8n } } }, 'retry.max_backoff', '8 s'],
    [{ retry: { ramFactor: Number.NaN } }, 'retry.ram_factor', 'NaN'],
    [{ retry: { ramFactor: 0.9 } }, 'retry.ram_factor', '0.9'],
    [{ retry: { ramFactor: Number.POSITIVE_INFINITY } }, 'retry.ram_factor', 'Infinity'],
    [{ limits: { run: { seconds: -5n } } }, 'limits.run', '-5 s'],
    [{ limits: { run: {} } }, 'limits.run', '0 s'],
    [{ limits: { queued: { seconds: 10n ** 12n } } }, 'limits.queued', '1000000000000'],
  ];
  for (const [wish, field, naming] of cases) {
    await refused(t, server, () => request(ada, wish), {
      code: 'INVALID_ARGUMENT',
      reason: 'OUT_OF_RANGE',
      field,
      naming,
    });
  }
  const uuid = await requested();
  const held = await claim(uuid);
  const bad = { ...held, reason: 'X' };
  const fault = { code: 'INVALID_ARGUMENT', reason: 'BAD_FAULT' } as const;
  await refused(t, server, () => bob.worker.failJob({ ...bad, fault: Fault.SERVER }), {
    ...fault,
    field: 'fault',
    naming: 'FAULT_SERVER',
  });
  await refused(t, server, () => bob.worker.failJob({ ...bad, fault: 77 as Fault }), {
    ...fault,
    field: 'fault',
    naming: '77',
  });
  await refused(t, server, () => bob.worker.failJob({ ...bad, givenBack: true, fault: Fault.SCRIPT }), {
    ...fault,
    field: 'given_back',
    naming: 'FAULT_SCRIPT',
  });
});

test.serial('a job that failed is run again by hand, once, by the next run, as anybody sees', async (t) => {
  const { ada, bob } = clients();
  const uuid = await requested({ labels: { team: 'imaging' }, priority: 4 });
  await refused(t, server, () => bob.jobs.retryJob({ uuid }), {
    code: 'FAILED_PRECONDITION',
    reason: 'JOB_NOT_RETRIABLE',
    naming: 'is Queued',
  });
  await bob.worker.failJob({ ...(await claim(uuid)), reason: 'SCRIPT_FAILED' });
  const old = await get(uuid);
  t.is(old.state, JobState.FAILED);
  const { job, reused, consistencyToken } = await bob.jobs.retryJob({ uuid, priority: 6 });
  t.false(reused);
  t.like(job, { owner: 'bob', retryOf: uuid, priority: 6, state: JobState.QUEUED, runNumber: old.runNumber + 1 });
  t.like(job, { scriptVersion: old.scriptVersion, labels: { team: 'imaging' }, interestCount: 1, attemptCount: 0 });
  const made = job?.uuid ?? '';
  const { job: read } = await ada.jobs.getJob({ uuid: made, consistencyToken });
  t.like(read, { uuid: made, retryOf: uuid, retry: old.retry });
  const again = await ada.jobs.retryJob({ uuid });
  t.like(again, { reused: true, job: { uuid: made, owner: 'bob', priority: 6 } });
  const [first] = await collect(ada.history.readHistory({ uuid: made }));
  t.like(first?.event?.event.value, { decision: { uuid: made, outcome: Outcome.CREATED_AS_ASKED } });
  t.regex(JSON.stringify(first?.event?.event.value, plain), /asked for as a retry of run \d+, which is Failed/);
  // It is run as any, and may be run again itself once it has ended without success.
  await bob.worker.completeJob({ ...(await claim(made)), output: 'sha256:o', log: 'sha256:l' });
  const { outcomes, retried, matching } = await ada.jobs.retryJobs({ selection: { uuids: [uuid, made] } });
  t.deepEqual(
    outcomes.map(({ error }) => error?.reason ?? ''),
    ['', 'JOB_NOT_RETRIABLE'],
  );
  t.like(retried, { length: 1, 0: { retryOf: uuid, uuid: made, reused: true } });
  t.is(matching, 2n);
  const filters = [filterFromTriple(['computation_digest', '=', old.computationDigest])];
  const dry = await ada.jobs.retryJobs({ selection: { filters, dryRun: true } });
  t.deepEqual([dry.outcomes.map((one) => one.uuid), dry.retried], [[uuid], []]);
});

const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
