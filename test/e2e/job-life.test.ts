import type { ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { WatchJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { complete, fail, find, plenty, request, uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
});

const types = (changes: readonly WatchJobResponse[]) => changes.map(({ eventType }) => eventType);

/** A queued job with these components. */
async function withComponents(components: Record<string, string> = {}) {
  return uuidOf(await request(ada, { components }));
}

test('a watcher sees the job as it is and every change, none left out, in order', async (t) => {
  const uuid = uuidOf(await request(ada, { scriptParameters: { watch: 1 }, priority: 4 }));
  const watchers = Array.from({ length: 20 }, () => collect(ada.jobs.watchJob({ uuid })));
  const early = ada.jobs.watchJob({ uuid });
  t.is((await early.next()).value?.job?.state, JobState.QUEUED);
  await bob.worker.claimJob({ uuid });
  await Promise.all(Array.from({ length: 30 }, (_, i) => bob.worker.heartbeat({ uuid, progress: i / 30 })));
  await ada.jobs.updateJob({ job: { uuid, description: 'd' }, updateMask: { paths: ['description'] } });
  // Answers with this job are no changes of it.
  await find(ada, { scriptParameters: { watch: 1 } });
  const { job: last } = await bob.worker.completeJob({ uuid, output: 'o', log: 'l' });
  const expected = ['JobStarted', ...Array(30).fill('JobProgressed'), 'JobUpdated', 'JobCompleted'];
  same(t, types(await collect(early)), expected);
  for (const changes of await Promise.all(watchers)) {
    // Those that came later began later; what they saw has no gap.
    t.deepEqual(types(changes), ['', ...expected.slice(expected.length - changes.length + 1)]);
    const first = changes[0]?.job?.revision ?? -1;
    t.deepEqual(
      changes.map(({ job }) => job?.revision),
      changes.map((_, i) => first + i),
    );
    t.deepEqual(changes.at(-1)?.job, last);
  }
});

test('a watcher of a finished job sees it once', async (t) => {
  const uuid = uuidOf(await request(ada));
  await fail(bob, uuid);
  const changes = await collect(ada.jobs.watchJob({ uuid }));
  t.deepEqual(types(changes), ['']);
  t.is(changes[0]?.job?.failureMessage, 'exit status 1');
});

test('a watcher may leave', async (t) => {
  const uuid = uuidOf(await request(ada));
  for await (const { job } of ada.jobs.watchJob({ uuid })) {
    t.is(job?.state, JobState.QUEUED);
    break;
  }
  const leaving = new AbortController();
  const watching = collect(ada.jobs.watchJob({ uuid }, { signal: leaving.signal }));
  leaving.abort();
  t.is((await failure(t, () => watching)).code, 1);
  t.is((await failure(t, () => collect(ada.jobs.watchJob({ uuid }, { timeoutMs: 100 })))).code, 4);
});

test('a read that is given a token sees that write', async (t) => {
  for (let i = 0; i < 20; i++) {
    const { job, consistencyToken } = await request(ada, { scriptParameters: { i, token: true }, priority: 1_000 + i });
    const uuid = job?.uuid ?? '';
    t.deepEqual((await ada.jobs.getJob({ uuid, consistencyToken })).job, job);
    t.is((await ada.jobs.getQueue({ pageSize: 1, consistencyToken })).jobs[0]?.uuid, uuid);
    const { jobs } = await ada.jobs.listJobs({ consistencyToken });
    t.true(jobs.some((listed) => listed.uuid === uuid));
    const { value: first } = await ada.jobs.watchJob({ uuid, consistencyToken }).next();
    t.deepEqual(first?.job, job);
    const cancelled = await ada.jobs.cancelJob({ uuid });
    t.is(
      (await ada.jobs.getJob({ uuid, consistencyToken: cancelled.consistencyToken })).job?.state,
      JobState.CANCELLED,
    );
  }
});

test('what a read tells is what the write told, for every kind of write', async (t) => {
  const made = await request(ada, {
    scriptParameters: { all: 'fields' },
    description: 'd',
    nondeterministic: true,
    submitId: 'all fields',
    priority: -7,
    components: { a: '00000000-0000-4000-8000-000000000000' },
    runtimeConstraints: { minNodes: 1, maxNodes: 2, minRamMbPerNode: 4_096, maxTasksPerNode: 4_294_967_295 },
  });
  const uuid = uuidOf(made);
  const read = async (consistencyToken: string) => (await ada.jobs.getJob({ uuid, consistencyToken })).job;
  t.deepEqual(await read(made.consistencyToken), made.job);
  const claimed = await bob.worker.claimJob({ uuid, offer: plenty });
  t.deepEqual(await read(claimed.consistencyToken), claimed.job);
  const updated = await ada.jobs.updateJob({
    job: { uuid, priority: 9, description: '', components: {} },
    updateMask: { paths: ['priority', 'description', 'components'] },
    expectedRevision: 1,
  });
  t.deepEqual([updated.job?.priority, updated.job?.description, updated.job?.components], [9, '', {}]);
  t.deepEqual(await read(updated.consistencyToken), updated.job);
  const tasksSummary = { todo: 0, running: 0, done: 5, failed: 0 };
  const done = await bob.worker.completeJob({ uuid, output: 'o', log: 'l', tasksSummary });
  t.like(done.job?.tasksSummary, tasksSummary);
  t.deepEqual(await read(done.consistencyToken), done.job);
  const other = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid: other });
  const failed = await bob.worker.failJob({
    uuid: other,
    reason: 'SCRIPT_FAILED',
    message: 'm',
    log: 'l',
    tasksSummary,
  });
  t.deepEqual((await ada.jobs.getJob({ uuid: other, consistencyToken: failed.consistencyToken })).job, failed.job);
});

test('concurrent changes of one job are all made, one after the other', async (t) => {
  const uuid = uuidOf(await request(ada));
  const tries = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) =>
      ada.jobs.updateJob({ job: { uuid, priority: i }, updateMask: { paths: ['priority'] } }),
    ),
  );
  const made = tries.filter(({ status }) => status === 'fulfilled').length;
  t.is(made, 40);
  t.is((await collect(ada.history.readHistory({ uuid }))).length, 1 + made);
});

test('of concurrent changes that expect one revision, one is made', async (t) => {
  const uuid = uuidOf(await request(ada));
  const tries = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) =>
      ada.jobs.updateJob({ job: { uuid, priority: i }, updateMask: { paths: ['priority'] }, expectedRevision: 0 }),
    ),
  );
  t.is(tries.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('of a cancellation and a completion at the same moment one happens', async (t) => {
  for (let i = 0; i < 10; i++) {
    const uuid = uuidOf(await request(ada));
    await bob.worker.claimJob({ uuid });
    const [cancelled, completed] = await Promise.allSettled([
      ada.jobs.cancelJob({ uuid }),
      bob.worker.completeJob({ uuid, output: 'o', log: 'l' }),
    ]);
    t.not(cancelled.status, completed.status);
    const [seen] = await collect(ada.jobs.watchJob({ uuid }));
    t.is(seen?.job?.state, cancelled.status === 'fulfilled' ? JobState.CANCELLED : JobState.COMPLETE);
  }
});

test('cancelling a cancelled job succeeds, changes nothing and records nothing', async (t) => {
  const uuid = uuidOf(await request(ada));
  const first = await ada.jobs.cancelJob({ uuid });
  t.deepEqual(first.cancelledUuids, [uuid]);
  const again = await bob.jobs.cancelJob({ uuid });
  t.deepEqual(again.cancelledUuids, []);
  t.deepEqual(again.job, first.job);
  const recorded = (await collect(ada.history.readHistory({ uuid }))).map(({ event }) => event?.eventType);
  t.deepEqual(recorded, ['JobRequested', 'JobLeft', 'JobCancelled']);
});

test('a cascade reaches all that is below, through cycles, finished jobs and gaps, once each', async (t) => {
  const nobody = '00000000-0000-4000-8000-00000000dead';
  const leaf = await withComponents();
  const shared = await withComponents({ leaf });
  const done = await withComponents({ shared });
  await complete(bob, done);
  const running = await withComponents({ nobody, shared });
  await bob.worker.claimJob({ uuid: running });
  const root = await withComponents({ done, running, nobody });
  // The leaf started the root, and itself.
  const update = { job: { uuid: leaf, components: { root, leaf } }, updateMask: { paths: ['components'] } };
  await ada.jobs.updateJob(update);
  const { cancelledUuids, job } = await ada.jobs.cancelJob({ uuid: root, cascade: true });
  t.deepEqual(cancelledUuids.toSorted(), [root, running, shared, leaf].toSorted());
  t.is(cancelledUuids[0], root);
  t.is(job?.uuid, root);
  const state = async (uuid: string) => (await collect(ada.jobs.watchJob({ uuid })))[0]?.job?.state;
  t.is(await state(done), JobState.COMPLETE);
  for (const uuid of cancelledUuids) t.is(await state(uuid), JobState.CANCELLED);
  const [last] = (await collect(ada.history.readHistory({ uuid: leaf }))).slice(-1);
  if (last?.event?.event.case !== 'jobCancelled') return t.fail();
  t.is(last.event.event.value.cascadeFrom, root);
  t.true((await bob.worker.heartbeat({ uuid: running })).cancelled);
  // The same call again, as after a lost answer, is answered as the first time; another's is not the same, nor is one without cascade.
  const again = await ada.jobs.cancelJob({ uuid: root, cascade: true });
  t.deepEqual(again.cancelledUuids.toSorted(), cancelledUuids.toSorted());
  t.deepEqual((await ada.jobs.cancelJob({ uuid: root })).cancelledUuids, []);
  t.deepEqual((await bob.jobs.cancelJob({ uuid: root, cascade: true })).cancelledUuids, []);
});

test('a report, a cancellation and a deletion that are repeated are answered as the first time and recorded once', async (t) => {
  const claimed = async () => {
    const uuid = uuidOf(await request(ada));
    const { claimToken } = await bob.worker.claimJob({ uuid });
    return { uuid, claimToken };
  };
  const tasksSummary = { todo: 0, running: 0, done: 1, failed: 0 };
  const completion = { ...(await claimed()), output: 'o', log: 'l', tasksSummary };
  const failing = { ...(await claimed()), reason: 'SCRIPT_FAILED', message: 'm', log: 'l' };
  const cancelled = await withComponents();
  const calls: [uuid: string, call: () => Promise<unknown>][] = [
    [completion.uuid, async () => (await bob.worker.completeJob(completion)).job],
    [failing.uuid, async () => (await bob.worker.failJob(failing)).job],
    [cancelled, async () => (await ada.jobs.cancelJob({ uuid: cancelled })).cancelledUuids],
    [completion.uuid, async () => (await ada.jobs.deleteJob({ uuid: completion.uuid })).$typeName],
  ];
  for (const [uuid, call] of calls) {
    const recorded = async () => (await collect(ada.history.readHistory({ uuid }))).length;
    const first = await call();
    const before = await recorded();
    for (let i = 0; i < 2; i++) t.deepEqual(await call(), first);
    t.is(await recorded(), before);
  }
  // Other content, and the deletion of another, are no repetitions.
  const other = await failure(t, () => bob.worker.failJob({ ...failing, message: 'other' }));
  t.is(other.reason, 'WRONG_STATE');
  t.is((await failure(t, () => bob.jobs.deleteJob({ uuid: completion.uuid }))).reason, 'JOB_NOT_FOUND');
});

test('without cascade the components are left alone, and a cascade from a cancelled job still reaches them', async (t) => {
  const below = await withComponents();
  const root = await withComponents({ below });
  t.deepEqual((await ada.jobs.cancelJob({ uuid: root })).cancelledUuids, [root]);
  t.deepEqual((await ada.jobs.cancelJob({ uuid: root, cascade: true })).cancelledUuids, [below]);
});

test('a cascade from a complete job is refused and cancels nothing', async (t) => {
  const below = await withComponents();
  const root = await withComponents({ below });
  await complete(bob, root);
  t.is((await failure(t, () => ada.jobs.cancelJob({ uuid: root, cascade: true }))).code, 9);
  t.is((await ada.jobs.watchJob({ uuid: below }).next()).value?.job?.state, JobState.QUEUED);
});

test('the history of a job is all that was recorded of it, in the order of the log, with who and when', async (t) => {
  const made = await find(ada, { scriptParameters: { history: 1 } });
  const uuid = uuidOf(made);
  await bob.worker.claimJob({ uuid });
  await find(ada, { scriptParameters: { history: 1 } });
  await bob.worker.heartbeat({ uuid, progress: 0.5 });
  await bob.worker.appendJobLog([{ uuid, text: 'not in the history' }]);
  await ada.jobs.updateJob({ job: { uuid, priority: 1 }, updateMask: { paths: ['priority'] } });
  await bob.worker.completeJob({ uuid, output: 'o', log: 'l' });
  const other = server.as('cleo');
  await find(other, { scriptParameters: { history: 1 } });
  await ada.jobs.deleteJob({ uuid });
  const events = (await collect(other.history.readHistory({ uuid }))).map(({ event }) => event);
  t.deepEqual(
    events.map((event) => [event?.eventType, event?.metadata?.principal]),
    [
      ['JobRequested', 'ada'],
      ['JobStarted', 'bob'],
      ['JobReused', 'ada'],
      ['JobProgressed', 'bob'],
      ['JobUpdated', 'ada'],
      ['JobCompleted', 'bob'],
      ['JobReused', 'cleo'],
      ['JobDeleted', 'ada'],
    ],
  );
  const positions = events.map((event) => Number(event?.position));
  t.deepEqual(
    positions,
    positions.toSorted((a, b) => a - b),
  );
  t.is(new Set(events.map((event) => event?.eventId)).size, 8);
  ascending(
    t,
    events.map((event) => Number(event?.recordedAt?.seconds)),
  );
  for (const event of events) t.true(event?.event.case === event?.eventType.replace('J', 'j'));
});

function ascending(t: ExecutionContext, numbers: readonly number[]) {
  for (const [i, n] of numbers.entries()) t.true(n >= (numbers[i - 1] ?? n));
}

// Alone, since it counts the queue.
test('who wrote reads what was written, without a token, on the server that took it', async (t) => {
  const eve = server.as('eve');
  for (let n = 0; n < 20; n++) {
    const { uuid } = (await request(eve, { scriptParameters: { own: n } })).job ?? { uuid: '' };
    t.is((await eve.jobs.getJob({ uuid })).job?.uuid, uuid);
    await eve.jobs.updateJob({ job: { uuid, description: `${n}` }, updateMask: { paths: ['description'] } });
    const [alone, list, queue] = await Promise.all([
      eve.jobs.getJob({ uuid }),
      eve.jobs.listJobs({}),
      eve.jobs.getQueue({}),
    ]);
    for (const job of [alone.job, ...[list, queue].map(({ jobs }) => jobs.find((one) => one.uuid === uuid))]) {
      t.is(job?.description, `${n}`);
    }
    await eve.jobs.cancelJob({ uuid });
    await eve.jobs.deleteJob({ uuid });
    const refusal = await failure(t, () => eve.jobs.getJob({ uuid }));
    t.is(refusal.reason, 'JOB_NOT_FOUND');
  }
  const { size } = await eve.jobs.getQueueSize({});
  await request(eve, { scriptParameters: { own: 'last' } });
  t.is((await eve.jobs.getQueueSize({})).size, size + 1n);
});
