import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { JobCancelledSchema, JobStartedSchema, JobUpdatedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { OfferSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { allProjections } from '../../projections/all.js';
import { queueQueries } from '../../projections/read-model/queue.js';
import { openReadModelFile } from '../../projections/running/database.js';
import { fits, requirementsOf } from '../../src/domain/placement/requirements.js';
import { shapeKey, shapeOf } from '../../src/domain/placement/shape.js';
import { jobStream } from '../../src/domain/streams.js';
import { openQueueOrder } from '../../src/jobs/running/queue-order.js';
import { noon, requestOf } from '../domain/commands.js';
import { append } from '../projections/history.js';
import { catchUp, openScratch } from '../projections/scratch.js';
import { test } from '../support/serial.js';

const keyOf = (event: ReturnType<typeof requestOf>) => shapeKey(shapeOf(requirementsOf(event)));
const size = fc.constantFrom(0, 1, 40, 41, 42, 1_000);
const labels = fc.constantFrom({}, {}, { gpu: 'a100' });
const anyJob = fc.record({
  repository: fc.constantFrom('weather', 'climate'),
  owner: fc.constantFrom('alice', 'bob'),
  priority: fc.constantFrom(-1, 0, 0, 5),
  dockerImageLocator: fc.constantFrom('', 'image:1'),
  requiredLabels: labels,
  runtimeConstraints: fc.record({ minCoresPerNode: size, minRamMbPerNode: size }),
  next: fc.constantFrom('', '', '', 'started', 'cancelled', 'raised'),
});
const anyOffer = fc.option(
  fc
    .record({ cores: size, ram: size, labels, imageRuntimes: fc.constantFrom([], ['podman']) })
    .map(({ ram, imageRuntimes, ...rest }) =>
      create(OfferSchema, { ...rest, ramMb: BigInt(ram), imageRuntimes: [...imageRuntimes] }),
    ),
  { nil: undefined },
);

test('a claim is led through the jobs that fit its offer, in the order of the queue, and through no others', async (t) => {
  let n = 0;
  for (let scene = 0; scene < 3; scene++) {
    const scratch = await openScratch();
    const path = scratch.path('rm.sqlite');
    const expected: { uuid: string; priority: number; event: ReturnType<typeof requestOf> }[] = [];
    // Enough lists that they are not looked at one by one.
    for (const { next, ...facts } of fc.sample(anyJob, [20, 120, 300][scene])) {
      const event = requestOf({ ...facts, scriptParameters: { n: n++ }, requestedAt: timestampFromMs(noon) });
      const stream = jobStream(event.uuid);
      await append(scratch.store, stream, event);
      if (next === 'started') await append(scratch.store, stream, create(JobStartedSchema, {}));
      else if (next === 'cancelled') await append(scratch.store, stream, create(JobCancelledSchema, {}));
      else if (next === 'raised') await append(scratch.store, stream, create(JobUpdatedSchema, { priority: 9 }));
      if (next === '' || next === 'raised') {
        expected.push({ uuid: event.uuid, event, priority: next === '' ? event.priority : 9 });
      }
    }
    await catchUp(scratch.store, path);
    const db = openReadModelFile(path, allProjections);
    const order = openQueueOrder({ queue: queueQueries(db), onRemade: () => undefined });
    const inOrder = expected.map((one, i) => ({ ...one, i })).sort((a, b) => b.priority - a.priority || a.i - b.i);
    await fc.assert(
      fc.property(
        anyOffer,
        fc.constantFrom('weather', 'climate', ''),
        fc.boolean(),
        fc.constantFrom('', 'alice'),
        (has, only, looks, full) => {
          const repository = (name: string) => only === '' || name === only;
          const owner = (name: string) => name !== full;
          const wanting = { offer: looks ? { has } : undefined, repository, owner };
          const fitting = inOrder.filter(
            ({ event }) =>
              repository(event.repository) && owner(event.owner) && (!looks || fits(has, requirementsOf(event))),
          );
          const places = [...order.places(wanting)];
          t.deepEqual(
            places.map(({ uuid }) => uuid),
            fitting.map(({ uuid }) => uuid),
          );
          for (const place of order.places({ offer: undefined, repository: () => true, owner: () => true })) {
            t.is(
              order.gives(wanting, place),
              fitting.some(({ uuid }) => uuid === place.uuid),
            );
          }
        },
      ),
      { numRuns: 20 },
    );
    // Of each list the first job.
    const firsts = (those: typeof inOrder) => {
      const lists = new Set<string>();
      return those.filter(({ event }) => !lists.has(keyOf(event)) && lists.add(keyOf(event))).map(({ uuid }) => uuid);
    };
    const uuids = (places: readonly { readonly uuid: string }[]) => places.map(({ uuid }) => uuid);
    t.deepEqual(uuids(order.headsOfOwner('bob')), firsts(inOrder.filter(({ event }) => event.owner === 'bob')));
    t.deepEqual(
      uuids(order.headsOfRepository('climate')),
      firsts(inOrder.filter(({ event }) => event.repository === 'climate')),
    );
    // Lists end, and begin again.
    const everything = { offer: undefined, repository: () => true, owner: () => true };
    const left = inOrder.filter(({ event }) => event.repository === 'climate');
    for (const { uuid, event } of inOrder) {
      if (event.repository === 'weather') await append(scratch.store, jobStream(uuid), create(JobCancelledSchema, {}));
    }
    await catchUp(scratch.store, path);
    t.deepEqual(uuids([...order.places(everything)]), uuids(left));
    const anew = requestOf({ repository: 'weather', scriptParameters: { n: n++ } });
    await append(scratch.store, jobStream(anew.uuid), anew);
    await catchUp(scratch.store, path);
    const weather = (name: string) => name === 'weather';
    t.deepEqual(uuids([...order.places({ ...everything, repository: weather })]), [anew.uuid]);
    db.close();
    await scratch.close();
  }
});
