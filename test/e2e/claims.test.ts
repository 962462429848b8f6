import test, { type ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { startTestServer, type TestServer } from '../support/server.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

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
