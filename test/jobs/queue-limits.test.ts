import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { pino } from 'pino';
import { TimeLimitsSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import { StoreUnavailable } from '../../src/eventstore/port.js';
import { watchQueueLimits } from '../../src/jobs/running/queue-limits.js';
import { joinOf } from '../domain/commands.js';
import { openExclusionsBench } from '../support/exclusions.js';
import { test } from '../support/serial.js';

// The watch over interests that end, on a real store and read model, looked at by hand on a clock of the test's.

const never = 2 ** 31 - 1;

test('an interest ends when its job was not run in time that this server could see, and with the last the job', async (t) => {
  const bench = await openExclusionsBench({});
  const { context } = bench;
  const clock = { monotonic: 1_000 };
  const edge = { ...systemEdge, monotonic: () => clock.monotonic };
  let away = false;
  const store = {
    ...context.store,
    async end() {
      if (away) throw new StoreUnavailable('away');
      return context.store.end();
    },
  };
  const watch = watchQueueLimits({ ...context, store, edge }, pino({ level: 'silent' }), never);
  t.teardown(async () => {
    await watch.stop();
    await bench.close();
  });
  const { streams } = context;
  const limits = create(TimeLimitsSchema, { queued: durationFromMs(3_000) });
  const job = (of: string) => bench.request({ repository: 'project', commit: 'c', owner: 'alice', parameters: { of } });
  const join = (uuid: string, principal: string) =>
    streams.execute(bench.caller(principal), uuid, joinOf({ uuid, principal, limits }));
  const leave = (uuid: string, principal: string) =>
    streams.execute(bench.caller(principal), uuid, {
      kind: 'leave',
      principal,
      reason: 'WITHDRAWN',
      cascadeFrom: '',
      cascade: false,
      now: 0,
    });
  const [waiting, alone, run] = [await job('waiting'), await job('alone'), await job('run')];
  for (const { uuid } of [waiting, alone, run]) await join(uuid, 'bob');
  await leave(alone.uuid, 'alice');
  await streams.execute(bench.caller('w'), run.uuid, { kind: 'start', worker: 'w', leaseMs: 1_000, now: 0 });
  await bench.settle();
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 500) {
      clock.monotonic += 500;
      await watch.sweep();
    }
  };
  const seen = async (uuid: string) => {
    const { job, interests } = (await streams.load(uuid)) as NonNullable<Awaited<ReturnType<typeof streams.load>>>;
    return [job.state, interests.standing.length];
  };
  await watch.sweep();
  // Neither a store that is away nor a process that slept counts.
  away = true;
  await pass(5_000);
  away = false;
  clock.monotonic += 60_000;
  await pass(1_500);
  t.deepEqual(await seen(waiting.uuid), [JobState.QUEUED, 2]);
  await pass(2_500);
  t.deepEqual(await seen(waiting.uuid), [JobState.QUEUED, 1]);
  t.deepEqual(await seen(alone.uuid), [JobState.CANCELLED, 0]);
  t.deepEqual(await seen(run.uuid), [JobState.RUNNING, 2]);
});
