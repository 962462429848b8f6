import type { ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const project = makeProject();
// For tests that claim by uuid or from a repository of their own.
const shared = serverOfFile({
  repositories: { project: project.repository.path, hedged: project.repository.path },
});

test.after.always(() => {
  project.repository.dispose();
});

async function start(t: ExecutionContext) {
  const { path } = project.repository;
  const server = await startTestServer({ repositories: { project: path, other: path, 'group/third': path } });
  t.teardown(() => server.dispose());
  return server;
}

/** Requests jobs, one for each wish, and waits until the queue has them. */
async function queued(server: TestServer, wishes: readonly NonNullable<Parameters<typeof request>[1]>[]) {
  const ada = server.as('ada');
  const answers = await Promise.all(wishes.map((wish, i) => request(ada, { scriptParameters: { i }, ...wish })));
  const consistencyToken = String(Math.max(...answers.map((answer) => Number(answer.consistencyToken))));
  await ada.jobs.getQueueSize({ consistencyToken });
  return answers.map(uuidOf);
}

const seconds = (n: number) => ({ seconds: BigInt(n) });

test('a claim of a uuid and a claim of the next one start the job', async (t) => {
  const server = await start(t);
  const [one, other] = await queued(server, [{ priority: 1 }, {}]);
  const bob = server.as('bob');
  for (const [wish, uuid] of [
    [{ uuid: other ?? '', lease: seconds(90) }, other],
    [{ lease: seconds(90) }, one],
  ] as const) {
    const { job, lease, consistencyToken } = await bob.worker.claimJob(wish);
    t.is(job?.uuid, uuid);
    t.is(job?.state, JobState.RUNNING);
    t.is(job?.claimedBy, 'bob');
    t.is(lease?.seconds, 90n);
    t.is(Number(job?.leaseExpiresAt?.seconds) - Number(job?.startedAt?.seconds), 90);
    t.deepEqual((await bob.jobs.getJob({ uuid: uuid ?? '', consistencyToken })).job, job);
  }
  const none = await bob.worker.claimJob({});
  t.is(none.job, undefined);
  t.is(none.consistencyToken, '');
  t.is((await bob.worker.claimJob({ uuid: uuidOf(await request(bob)) })).lease?.seconds, 60n);
});

test('claims follow priority, then age, of the repositories that were named', async (t) => {
  const server = await start(t);
  const uuids = await queued(server, [{ priority: -1 }]);
  for (const wish of [
    { priority: 2, repository: 'other' },
    { priority: 2, repository: 'group/third' },
    { priority: 7, repository: 'project' },
    { priority: 2, repository: 'other' },
  ]) {
    uuids.push(...(await queued(server, [wish])));
  }
  const claim = async (...repositories: string[]) => {
    const { job } = await server.as('bob').worker.claimJob({ repositories });
    return job && uuids.indexOf(job.uuid);
  };
  t.is(await claim('other', 'group/third', 'other'), 1);
  t.is(await claim('nope'), undefined);
  t.is(await claim('other', 'group/third'), 2);
  t.is(await claim(), 3);
  t.is(await claim('project', 'other'), 4);
  t.is(await claim('other'), undefined);
  t.is(await claim('project'), 0);
});

test('16 workers claim 200 jobs: each is claimed once, none is left', async (t) => {
  const server = await start(t);
  const uuids = await queued(server, Array(200).fill({}));
  const claimed: string[] = [];
  await Promise.all(
    Array.from({ length: 16 }, async (_, i) => {
      const { worker } = server.as(`worker-${i}`);
      for (;;) {
        const { job } = await worker.claimJob({});
        if (!job) return;
        t.is(job.claimedBy, `worker-${i}`);
        claimed.push(job.uuid);
      }
    }),
  );
  t.deepEqual(claimed.toSorted(), uuids.toSorted());
  t.is((await server.as('ada').jobs.getQueueSize({ consistencyToken: String(await server.end()) })).size, 0n);
});

test('of 16 claims of one uuid at once one wins and the others learn its state', async (t) => {
  const server = await start(t);
  const [uuid = ''] = await queued(server, [{}]);
  const tries = await Promise.all(
    Array.from({ length: 16 }, (_, i) =>
      server
        .as(`worker-${i}`)
        .worker.claimJob({ uuid })
        .catch((error: Error) => error),
    ),
  );
  const errors = tries.filter((answer) => answer instanceof Error);
  t.is(errors.length, 15);
  for (const { message } of errors) t.true(message.includes('is Running and cannot become Running'), message);
});

test('waiting claims are woken by new jobs, one job one claim', async (t) => {
  const server = await start(t);
  const claims = Array.from({ length: 8 }, (_, i) =>
    server.as(`worker-${i}`).worker.claimJob({ wait: seconds(60), repositories: i % 2 ? ['other'] : [] }),
  );
  const first = uuidOf(await request(server.as('ada'), { scriptParameters: { first: true } }));
  const { job } = await Promise.race(claims);
  t.is(job?.uuid, first);
  const others = await queued(server, Array(7).fill({ repository: 'other' }));
  const all = await Promise.all(claims);
  t.deepEqual(all.map((answer) => answer.job?.uuid).toSorted(), [first, ...others].toSorted());
});

test('a claim that waits in vain is an answer without a job, at its time', async (t) => {
  const server = await start(t);
  const before = performance.now();
  const { job } = await server.as('bob').worker.claimJob({ wait: { nanos: 300_000_000 } });
  t.is(job, undefined);
  t.true(performance.now() - before >= 299);
});

test('a worker that went away while it waited gets no job', async (t) => {
  const server = await start(t);
  const gone = new AbortController();
  const claim = server.as('gone').worker.claimJob({ wait: seconds(60) }, { signal: gone.signal });
  const late = server.as('late').worker.claimJob({ wait: seconds(60) }, { timeoutMs: 200 });
  t.is((await failure(t, () => late)).code, 4);
  gone.abort();
  t.is((await failure(t, () => claim)).code, 1);
  // A call behind it on the same connection has seen the cancellation arrive.
  await server.as('gone').jobs.getQueueSize({});
  const [uuid] = await queued(server, [{}]);
  t.is((await server.as('bob').worker.claimJob({ wait: seconds(60) })).job?.uuid, uuid);
});

test('a cancelled job is not claimed', async (t) => {
  const server = await start(t);
  const [one = '', other] = await queued(server, [{ priority: 1 }, {}]);
  await server.as('ada').jobs.cancelJob({ uuid: one });
  t.is((await server.as('bob').worker.claimJob({})).job?.uuid, other);
});

const token = (n: number) => Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? n : 7));

test('a claim whose answer nobody got, repeated with its token, is given the same job: none runs for nobody', async (t) => {
  const server = await start(t);
  const [first = ''] = await queued(server, Array(12).fill({}));
  const { worker } = server.as('bob');
  const got: string[] = [];
  for (let n = 0; n < 12; n++) {
    const claim = { claimToken: token(n), wait: seconds(60) };
    // The first try is given up at some moment of its life, before, while or after the job is taken.
    const gone = new AbortController();
    const lost = worker.claimJob(claim, { signal: gone.signal }).catch(() => undefined);
    for (let turns = 0; turns < n; turns++) await new Promise((resolve) => setImmediate(resolve));
    gone.abort();
    await lost;
    const { job, claimToken } = await worker.claimJob(claim);
    t.deepEqual([...(claimToken ?? [])], [...token(n)]);
    got.push(job?.uuid ?? '');
  }
  t.is(new Set(got).size, 12);
  for (const [n, uuid] of got.entries()) {
    t.is((await worker.heartbeat({ uuid, claimToken: token(n) })).state, JobState.RUNNING);
  }
  // Until the attempt has ended, and after a restart too.
  t.is((await worker.claimJob({ claimToken: token(0), uuid: first })).job?.uuid, first);
  const before = await server.end();
  // A server that stops does not wait for what is held back.
  const waiting = worker.heartbeat({ uuid: first, claimToken: token(0), wait: seconds(300) });
  await until('the heartbeat', async () => (await server.end()) > before);
  await server.restart();
  t.is((await waiting).state, JobState.RUNNING);
  const again = server.as('bob').worker;
  t.is((await again.claimJob({ claimToken: token(0) })).job?.uuid, first);
  t.is(await server.end(), before + 1, 'a claim that is repeated records nothing');
  await again.completeJob({ uuid: first, claimToken: token(0), output: 'o', log: 'l' });
  t.is((await again.claimJob({ claimToken: token(0) })).job, undefined);
});

test('hedged claims with one token are given one job', async (t) => {
  const { worker } = shared.as('bob');
  const claim = { claimToken: token(100), wait: seconds(60), repositories: ['hedged'] };
  const claims = Array.from({ length: 6 }, () => worker.claimJob(claim));
  const uuids = await queued(shared, Array(6).fill({ repository: 'hedged' }));
  const answers = await Promise.all(claims);
  t.is(new Set(answers.map(({ job }) => job?.uuid)).size, 1);
  t.true(uuids.includes(answers[0]?.job?.uuid ?? ''));
  const states = uuids.map(async (uuid) => (await shared.as('ada').jobs.watchJob({ uuid }).next()).value?.job?.state);
  t.is((await Promise.all(states)).filter((state) => state === JobState.QUEUED).length, 5);
});

test('the token alone speaks for the attempt, and the server makes one for who sends none', async (t) => {
  const server = shared;
  const [uuid = '', other = ''] = await queued(server, [{}, {}]);
  const { worker } = server.as('bob');
  const recorded = async () => (await collect(server.as('ada').history.readHistory({ uuid }))).length;
  await worker.claimJob({ uuid, claimToken: token(1), lease: seconds(90) });
  const again = await worker.claimJob({ uuid, claimToken: token(1), lease: seconds(10) });
  t.is(again.lease?.seconds, 90n, 'the lease is the one that stands');
  const calls = (claimToken: Uint8Array<ArrayBuffer>): (() => Promise<unknown>)[] => [
    () => worker.heartbeat({ uuid, claimToken }),
    () => worker.appendJobLog([{ uuid, claimToken, text: 'x' }]),
    () => worker.failJob({ uuid, claimToken, reason: 'X' }),
    () => worker.completeJob({ uuid, claimToken, output: 'o', log: 'l' }),
  ];
  const before = await recorded();
  for (const claimToken of [token(2), new Uint8Array()]) {
    for (const call of calls(claimToken)) {
      const error = await failure(t, call);
      t.deepEqual([error.code, error.reason], [9, 'ATTEMPT_ENDED']);
      t.true(error.message.includes(uuid), error.message);
    }
  }
  t.is((await failure(t, () => worker.claimJob({ uuid: other, claimToken: token(1) }))).reason, 'TOKEN_IN_USE');
  t.is(
    (await failure(t, () => server.as('eve').worker.claimJob({ uuid, claimToken: token(1) }))).reason,
    'WRONG_STATE',
  );
  for (const length of [1, 15, 65]) {
    const error = await failure(t, () => worker.claimJob({ claimToken: new Uint8Array(length) }));
    t.deepEqual([error.reason, error.fields], ['BAD_CLAIM_TOKEN', ['claim_token']]);
  }
  t.is(await recorded(), before);
  for (const call of [0, 1, 3]) await calls(token(1))[call]?.();

  // Without one: the server's own holds, and may be left out.
  const { claimToken } = await worker.claimJob({ uuid: other, workerName: 'cellar' });
  t.is(claimToken.length, 32);
  await worker.heartbeat({ uuid: other });
  t.is((await failure(t, () => worker.heartbeat({ uuid: other, claimToken: token(1) }))).reason, 'ATTEMPT_ENDED');
  await worker.completeJob({ uuid: other, claimToken, output: 'o', log: 'l' });
  const events = await collect(server.as('ada').history.readHistory({ uuid: other }));
  const started = events.map(({ event }) => event?.event).find((event) => event?.case === 'jobStarted')?.value;
  t.like(started, { attempt: 1, workerName: 'cellar', claimTokenMade: true, claimTokenDigest: '' });
});

test('a heartbeat that waits is answered when the job is cancelled, and at its time otherwise', async (t) => {
  const server = shared;
  const [uuid = '', other = ''] = await queued(server, [{}, {}]);
  const { worker } = server.as('bob');
  await worker.claimJob({ uuid });
  await worker.claimJob({ uuid: other });
  const held = worker.heartbeat({ uuid, wait: seconds(300) });
  // What changes but does not end the attempt is no answer.
  await server.as('ada').jobs.updateJob({ job: { uuid, priority: 2 }, updateMask: { paths: ['priority'] } });
  await worker.heartbeat({ uuid, progress: 0.5 });
  const { state } = await worker.heartbeat({ uuid: other, wait: { nanos: 50_000_000 } });
  t.is(state, JobState.RUNNING);
  await server.as('ada').jobs.cancelJob({ uuid });
  t.true((await held).cancelled);
  t.true((await worker.heartbeat({ uuid, wait: seconds(300) })).cancelled, 'at once, of a job that has ended');
  const error = await failure(t, () => worker.heartbeat({ uuid: other, wait: seconds(301) }));
  t.deepEqual([error.reason, error.fields], ['OUT_OF_RANGE', ['wait']]);
});
