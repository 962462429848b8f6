import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { RetryPolicySchema, TimeLimitsSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import { type EventStore, StoreUnavailable } from '../../src/eventstore/port.js';
import { openJobStreams } from '../../src/jobs/job-streams.js';
import { recordingStore } from '../../src/jobs/recording-store.js';
import { watchLeases } from '../../src/jobs/running/leases.js';
import { requestOf } from '../domain/commands.js';
import { openExclusionsBench } from '../support/exclusions.js';
import { roundsUntil } from '../support/rounds.js';
import { test } from '../support/serial.js';

// The watch over leases on a real store and read model, looked at by hand on a clock of the test's.

const never = 2 ** 31 - 1;

async function start(t: ExecutionContext, leaseMs: number, more: Parameters<typeof requestOf>[0] = {}) {
  const bench = await openExclusionsBench({});
  const { context } = bench;
  const clock = { monotonic: 1_000 };
  const edge = { ...systemEdge, monotonic: () => clock.monotonic };
  // What the store does with appends and questions; a test makes it worse for a while.
  const trouble: { append?: () => Promise<void>; end?: () => Promise<void> } = {};
  const troubled: EventStore = {
    ...context.store,
    async append(...args) {
      await trouble.append?.();
      return context.store.append(...args);
    },
    async end() {
      await trouble.end?.();
      return context.store.end();
    },
  };
  const { store, recording } = recordingStore(troubled);
  const streams = openJobStreams(store, edge, 'test', context.written, context.readModel);
  const watched = { ...context, sharesRuns: true, store, streams, edge, recording };
  const leases = watchLeases(watched, pino({ level: 'silent' }), never);
  t.teardown(async () => {
    await leases.stop();
    await bench.close();
  });
  const worker = bench.caller('worker');
  const asked = requestOf({ ...more, scriptParameters: { own: t.title } });
  const { uuid } = asked;
  await streams.request(worker, asked);
  await streams.execute(worker, uuid, { kind: 'start', worker: 'worker', leaseMs, now: 0 });
  await bench.settle();
  /** Lets time pass, with a look at the leases twice a second. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 500) {
      clock.monotonic += Math.min(left, 500);
      await leases.sweep();
    }
  };
  await leases.sweep();
  return {
    clock,
    trouble,
    pass,
    look: () => leases.sweep(),
    heartbeat: () => streams.execute(worker, uuid, { kind: 'heartbeat', worker: 'worker', now: 0 }),
    job: async () => (await streams.load(uuid))?.job,
    state: async () => (await streams.load(uuid))?.job.state,
  };
}

const unavailable = async () => {
  throw new StoreUnavailable('away');
};

/** Lets the next append wait until `fail`, when it fails. `asked` resolves when it was asked for. */
function hanging(trouble: { append?: () => Promise<void> }) {
  let fail = () => {};
  const asked = new Promise<void>((resolve) => {
    trouble.append = () => {
      delete trouble.append;
      resolve();
      return new Promise((_, reject) => {
        fail = () => reject(new StoreUnavailable('it said nothing'));
      });
    };
  });
  return { asked, fail: () => fail() };
}

test('a lease ends when its time was heard out, not before', async (t) => {
  const { pass, state } = await start(t, 60_000);
  await pass(60_000);
  t.is(await state(), JobState.RUNNING);
  await pass(500);
  t.is(await state(), JobState.FAILED);
});

test('a server that was stopped or slept begins leases anew, however long they are', async (t) => {
  for (const leaseMs of [1_000, 60_000, 600_000]) {
    const { clock, look, pass, state } = await start(t, leaseMs);
    await pass(leaseMs - 500);
    clock.monotonic += 10 * leaseMs;
    await look();
    await pass(leaseMs);
    t.is(await state(), JobState.RUNNING, `${leaseMs}`);
    await pass(500);
    t.is(await state(), JobState.FAILED, `${leaseMs}`);
  }
});

test('a short pause counts a second at most, and many of them keep no lease alive', async (t) => {
  const { clock, look, state } = await start(t, 60_000);
  for (let i = 0; i < 61; i++) {
    t.is(await state(), JobState.RUNNING, `${i}`);
    clock.monotonic += 15_000;
    await look();
  }
  t.is(await state(), JobState.FAILED);
});

test('no time counts while the store does not answer, and the lease begins anew when it does', async (t) => {
  const { trouble, pass, state } = await start(t, 20_000);
  await pass(19_500);
  trouble.end = unavailable;
  await pass(75_000);
  delete trouble.end;
  await pass(20_000);
  t.is(await state(), JobState.RUNNING);
  await pass(1_000);
  t.is(await state(), JobState.FAILED);
});

test('nor while an append gets no answer', async (t) => {
  const { trouble, pass, state, heartbeat } = await start(t, 20_000);
  await pass(19_500);
  const { asked, fail } = hanging(trouble);
  const lost = t.throwsAsync(heartbeat());
  await asked;
  await pass(75_000);
  fail();
  await lost;
  await pass(20_000);
  t.is(await state(), JobState.RUNNING);
  await pass(1_000);
  t.is(await state(), JobState.FAILED);
});

test('a lease that ends while a heartbeat is being recorded waits for it, and begins anew if it fails', async (t) => {
  const { clock, trouble, look, pass, state, heartbeat } = await start(t, 20_000);
  await pass(20_000);
  const { asked, fail } = hanging(trouble);
  const lost = t.throwsAsync(heartbeat());
  await asked;
  clock.monotonic += 500;
  const looking = look();
  fail();
  await Promise.all([lost, looking]);
  await pass(20_000);
  t.is(await state(), JobState.RUNNING);
  await pass(1_000);
  t.is(await state(), JobState.FAILED);
});

test('a heartbeat that the store could not record begins the lease anew; without any, it ends', async (t) => {
  const { trouble, pass, state, heartbeat } = await start(t, 20_000);
  trouble.append = unavailable;
  for (let i = 0; i < 10; i++) {
    await pass(7_000);
    await t.throwsAsync(heartbeat());
  }
  t.is(await state(), JobState.RUNNING);
  // The store comes back, and nobody says anything.
  delete trouble.append;
  await pass(20_500);
  t.is(await state(), JobState.RUNNING);
  await pass(500);
  t.is(await state(), JobState.FAILED);
});

test('a lease that could not be ended for want of the store begins anew', async (t) => {
  const { trouble, pass, state } = await start(t, 5_000);
  trouble.append = unavailable;
  await pass(5_500);
  delete trouble.append;
  await pass(5_500);
  t.is(await state(), JobState.RUNNING);
  await pass(500);
  t.is(await state(), JobState.FAILED);
});

test('an attempt that its worker lets run for a minute longer than it may is ended, whatever its lease', async (t) => {
  const limits = create(TimeLimitsSchema, { run: { seconds: 5n } });
  const { pass, heartbeat, job } = await start(t, 3_600_000, { limits });
  await pass(64_500);
  await heartbeat();
  t.is((await job())?.state, JobState.RUNNING);
  await pass(1_500);
  const ended = await job();
  t.like(ended, { state: JobState.FAILED, failureReason: 'RUN_LIMIT' });
  t.is(ended?.failureMessage, 'the attempt took longer than its limit of 5 s');
});

test('a completion at the moment of the expiry is recorded once, whichever comes first', async (t) => {
  const second = durationFromMs(1_000);
  const retry = create(RetryPolicySchema, { lost: 1, failed: 0, minBackoff: second, maxBackoff: second });
  const bench = await openExclusionsBench({});
  t.teardown(() => bench.close());
  const { context } = bench;
  const clock = { monotonic: 1_000 };
  const edge = { ...systemEdge, monotonic: () => clock.monotonic };
  const { store, recording } = recordingStore(context.store);
  const streams = openJobStreams(store, edge, 'test', context.written, context.readModel);
  const watched = { ...context, sharesRuns: true, store, streams, edge, recording };
  const leases = watchLeases(watched, pino({ level: 'silent' }), never);
  t.teardown(() => leases.stop());
  const worker = bench.caller('worker');
  const ways = { 'in time': 0, 'taken back': 0 };
  for (const round of roundsUntil(() => ways['in time'] > 0 && ways['taken back'] > 0, 25, 500)) {
    const asked = requestOf({ retry, scriptParameters: { round } });
    const { uuid } = asked;
    await streams.request(worker, asked);
    await streams.execute(worker, uuid, { kind: 'start', worker: 'worker', leaseMs: 1_000, now: 0 });
    await bench.settle();
    await leases.sweep();
    for (let i = 0; i < 2; i++) {
      clock.monotonic += 500;
      await leases.sweep();
    }
    clock.monotonic += 1;
    const over = leases.sweep();
    for (let turns = round % 5; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    const complete = { kind: 'complete', worker: 'worker', output: 'o', log: 'l', now: 0 } as const;
    const [, { record }] = await Promise.all([over, streams.execute(worker, uuid, complete)]);
    t.like(record.job, { state: JobState.COMPLETE, output: 'o', attemptCount: 1 });
    t.is((await streams.load(uuid))?.job.state, JobState.COMPLETE);
    ways[record.job.revision === 2 ? 'in time' : 'taken back']++;
  }
  t.log(ways);
  t.true(ways['in time'] > 0 && ways['taken back'] > 0, JSON.stringify(ways));
});
