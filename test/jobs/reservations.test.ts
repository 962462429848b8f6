import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { JobCancelledSchema, WorkerDrainedSchema, WorkerSeenSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { OfferSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { QueuedRow } from '../../projections/read-model/queue.js';
import type { WorkerId } from '../../projections/read-model/workers.js';
import { workerDigest } from '../../src/domain/placement/worker-digest.js';
import { jobStream, workerStream } from '../../src/domain/streams.js';
import { openReservations } from '../../src/jobs/running/reservations.js';
import { requestOf } from '../domain/commands.js';
import { append } from '../projections/history.js';
import { openExclusionsBench } from '../support/exclusions.js';

// Workers that are kept free, on a real log and read model, by a clock of the test's.

const minute = 60_000;
const bench = await openExclusionsBench({});
const { store, readModel } = bench.context;
test.after.always(() => bench.close());

const clock = { ms: 0 };
const edge = { monotonic: () => clock.ms, now: () => clock.ms };
let ended = 0;
const reservations = openReservations(readModel, edge, 5 * minute);
reservations.onEnded(() => ended++);

const total = create(OfferSchema, { cores: 8 });
const offer = create(OfferSchema, { cores: 4 });
let n = 0;

async function queued(cores: number): Promise<QueuedRow> {
  const scriptParameters = { reserved: n++ };
  const event = requestOf({ owner: 'ada', scriptParameters, runtimeConstraints: { minCoresPerNode: cores } });
  await append(store, jobStream(event.uuid), event);
  await bench.settle();
  return readModel.queue.placeOfJob(event.uuid) as QueuedRow;
}

async function seen(workerName: string): Promise<WorkerId> {
  const worker = { principal: 'w', workerName };
  const event = create(WorkerSeenSchema, { ...worker, offer: total, seenAt: timestampFromMs(clock.ms) });
  await append(store, workerStream(workerDigest(worker)), event);
  await bench.settle();
  return worker;
}

/** Has a worker be given small jobs that are behind a large one, each 35 s later. */
function passes(worker: WorkerId, large: QueuedRow, small: QueuedRow, times: number): void {
  for (let i = 0; i < times; i++) {
    reservations.given({ ...worker, total, offer, repositories: [] }, small, () => [large]);
    clock.ms += 35_000;
  }
}

test.serial(
  'a worker is kept free after ten passes in five minutes, for one job, and for one that is in front',
  async (t) => {
    const [large, other, small] = [await queued(8), await queued(7), await queued(1)];
    const [one, two] = [await seen('one'), await seen('two')];
    passes(one, large, small, 9);
    t.is(reservations.workerFor(large.uuid), undefined);
    // Behind what it is given nothing was passed over.
    passes(one, { ...large, priority: -1 }, small, 1);
    t.is(reservations.workerFor(large.uuid), undefined);
    passes(two, large, small, 1);
    t.deepEqual(reservations.workerFor(large.uuid), two);
    t.is(reservations.jobOf(two), large.uuid);
    passes(one, large, small, 1);
    t.deepEqual(reservations.workerFor(large.uuid), two);
    // Another job gets another worker.
    passes(two, other, small, 12);
    t.is(reservations.workerFor(other.uuid), undefined);
    passes(await seen('one'), other, small, 1);
    t.is(reservations.jobOf(one), other.uuid);
    await append(store, jobStream(large.uuid), create(JobCancelledSchema, {}));
    const before = ended;
    await bench.settle();
    t.is(ended, before + 1, 'whoever waits is told at once');
    t.is(reservations.jobOf(two), undefined);
    await append(store, jobStream(other.uuid), create(JobCancelledSchema, {}));
    await bench.settle();
  },
);

test.serial('ten passes at once are not long, and who has too little in all is kept free for nothing', async (t) => {
  const [large, small] = [await queued(9), await queued(1)];
  const worker = await seen('three');
  for (let i = 0; i < 20; i++) reservations.given({ ...worker, total, offer, repositories: [] }, small, () => [large]);
  clock.ms += 10 * minute;
  passes(worker, large, small, 5);
  t.is(reservations.workerFor(large.uuid), undefined);
  await append(store, jobStream(large.uuid), create(JobCancelledSchema, {}));
});

test.serial(
  'a worker that is drained, was not seen for long, or has nothing to run and still too little is kept no longer',
  async (t) => {
    const [large, small] = [await queued(8), await queued(1)];
    const kept = () => reservations.workerFor(large.uuid);
    const drained = await seen('drained');
    passes(drained, large, small, 12);
    t.deepEqual(kept(), drained);
    const event = create(WorkerDrainedSchema, { ...drained, drainedBy: 'root' });
    await append(store, workerStream(workerDigest(drained)), event);
    await bench.settle();
    t.is(kept(), undefined);
    const gone = await seen('gone');
    passes(gone, large, small, 1);
    t.deepEqual(kept(), gone);
    clock.ms += 16 * minute;
    t.is(kept(), undefined);
    const idle = await seen('idle');
    passes(idle, large, small, 1);
    reservations.refused(idle);
    t.deepEqual(kept(), idle, 'it may not be told yet of what it was given');
    clock.ms += minute;
    reservations.refused(idle);
    t.is(kept(), undefined, 'for a minute it ran nothing');
    passes(idle, large, small, 12);
    t.is(kept(), undefined, 'not for this job again');
  },
);
