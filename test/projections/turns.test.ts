import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  JobCancelledSchema,
  JobJoinedSchema,
  JobLeftSchema,
  JobUpdatedSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import type { QueuedRow } from '../../projections/read-model/queue.js';
import { heaviest, nextTurn } from '../../src/domain/placement/turns.js';
import { type QueueBench, queueBench } from './queue-bench.js';

const one = nextTurn(0, 0, 1);

test('turns go on behind the last of the owner, or behind what was given out, by the weight', (t) => {
  t.is(nextTurn(0, 0, 4), one / 4);
  t.is(nextTurn(10 * one, one, 2), 10.5 * one);
  t.is(nextTurn(one, 10 * one, 2), 10.5 * one);
  // A weight that no policy gives, of a log that somebody else wrote.
  t.is(nextTurn(0, 0, 0), one);
  t.true(nextTurn(0, 0, 2 ** 32 - 1) > 0);
  t.true(Number.isSafeInteger(nextTurn(2 ** 52, 0, heaviest)));
});

const weight = fc.integer({ min: 1, max: 20 });

test('while two owners have jobs queued, they are given out by their weights', (t) => {
  const step = fc.record({ owner: fc.constantFrom('ada', 'bob'), burst: fc.integer({ min: 1, max: 12 }) });
  fc.assert(
    fc.property(weight, weight, fc.array(fc.option(step), { minLength: 20, maxLength: 60 }), (ada, bob, steps) => {
      const bench = queueBench();
      const weights = { ada, bob };
      // How much more ada was given than bob, by weight, since both have had jobs queued.
      let ahead = 0;
      let [least, most] = [0, 0];
      for (const made of steps) {
        if (made) {
          const { owner, burst } = made;
          for (let i = 0; i < burst; i++) bench.request({ owner, turnWeight: weights[owner] });
        } else {
          const [first] = bench.places();
          if (first) bench.start(first.uuid);
          if (first) ahead += first.owner === 'ada' ? 1 / ada : -1 / bob;
        }
        const owners = new Set(bench.places().map(({ owner }) => owner));
        if (owners.size < 2) [ahead, least, most] = [0, 0, 0];
        least = Math.min(least, ahead);
        most = Math.max(most, ahead);
        t.true(most - least <= 1 / ada + 1 / bob + 0.01, `${most - least}`);
      }
      bench.close();
    }),
    { numRuns: 40 },
  );
});

test('no job is passed for ever, whoever comes, and whatever jobs ask for', (t) => {
  const before = fc.array(fc.record({ owner: fc.nat(3), cores: fc.nat(2), weight }), { maxLength: 25 });
  const newcomer = fc.record({ owner: fc.nat(60), cores: fc.nat(2), weight });
  fc.assert(
    fc.property(before, fc.infiniteStream(newcomer), weight, (those, others, own) => {
      const bench = queueBench();
      const ask = ({ owner, cores, weight }: { owner: number; cores: number; weight: number }) =>
        bench.request({
          owner: `owner-${owner}`,
          turnWeight: weight,
          runtimeConstraints: { minCoresPerNode: cores },
        });
      for (const job of those) ask(job);
      for (let i = 0; i < 3; i++) bench.request({ owner: 'ada', turnWeight: own });
      const waiting = bench.places().findLast(({ owner }) => owner === 'ada')?.uuid;
      let starts = 0;
      for (const job of others) {
        const [first] = bench.places();
        if (!first || first.uuid === waiting) break;
        bench.start(first.uuid);
        // One comes for each that is given out, so that there are always as many.
        ask(job);
        // The steps of a weight of 1 that are ahead of it, each as many jobs as there are by the weight of the heaviest.
        if (++starts > 4 * 20 * (those.length + 4)) break;
      }
      t.is(bench.places()[0]?.uuid, waiting);
      bench.close();
    }),
    { numRuns: 20 },
  );
});

test('a job that is queued again has its turn, and nobody comes in front of others by that', (t) => {
  const bench = queueBench();
  const [first, ...rest] = Array.from({ length: 5 }, () => bench.request({ owner: 'ada', turnWeight: 1 }));
  bench.start(first as string);
  bench.start(rest[0] as string);
  bench.giveBack(first as string);
  t.is(bench.places()[0]?.uuid, first);
  t.is(bench.places()[0]?.turn, one);
  bench.start(first as string);
  const late = bench.request({ owner: 'bob', turnWeight: 1 });
  t.deepEqual(
    bench.places().map(({ uuid, turn }) => [uuid, turn / one]),
    [
      [rest[1], 3],
      [late, 3],
      [rest[2], 4],
      [rest[3], 5],
    ],
  );
  bench.close();
});

test('priorities come before turns, each has turns of its own, and who changes one takes a turn anew there', (t) => {
  const bench = queueBench();
  const slow = [1, 2, 3].map(() => bench.request({ owner: 'ada', turnWeight: 1 }));
  const urgent = [1, 2].map(() => bench.request({ owner: 'bob', turnWeight: 1, priority: 5 }));
  const own = bench.request({ owner: 'ada', turnWeight: 1, priority: 5 });
  const order = () => bench.places().map(({ uuid }) => uuid);
  t.deepEqual(order(), [urgent[0], own, urgent[1], ...slow]);
  bench.tell(slow[2] as string, create(JobUpdatedSchema, { priority: 5 }));
  // The second turn of both owners there: the lower number comes first.
  t.deepEqual(order(), [urgent[0], own, slow[2], urgent[1], slow[0], slow[1]]);
  bench.tell(slow[2] as string, create(JobUpdatedSchema, { priority: 5, description: 'the same again' }));
  t.deepEqual(order(), [urgent[0], own, slow[2], urgent[1], slow[0], slow[1]]);
  bench.close();
});

test('who asks for what nobody else asks for comes first by nothing, and a list that is hardly served waits for no other', (t) => {
  const bench = queueBench();
  const gpu = { gpu: 'a100' };
  const slow = bench.request({ owner: 'ada', turnWeight: 1 });
  const fast = Array.from({ length: 6 }, () => bench.request({ owner: 'ada', turnWeight: 1, requiredLabels: gpu }));
  for (const uuid of fast.slice(0, 4)) bench.start(uuid);
  const turnOf = (uuid: string) => (bench.places().find((place) => place.uuid === uuid)?.turn ?? 0) / one;
  // Of jobs without labels none was given out.
  t.is(turnOf(bench.request({ owner: 'bob', turnWeight: 1 })), 1);
  t.is(turnOf(slow), 1);
  t.is(turnOf(bench.request({ owner: 'carol', turnWeight: 1, requiredLabels: gpu })), 6);
  t.is(turnOf(bench.request({ owner: 'dan', turnWeight: 1, requiredLabels: { gpu: 'h100' } })), 6);
  bench.close();
});

test('a job that several want takes the turn of who waited longest, and the next of them takes one when it leaves', (t) => {
  const bench = queueBench();
  const shared = bench.request({ owner: 'ada', turnWeight: 1 });
  const others = [1, 2, 3].map(() => bench.request({ owner: 'bob', turnWeight: 2 }));
  bench.tell(shared, create(JobJoinedSchema, { uuid: shared, principal: 'bob', turnWeight: 2 }));
  const placeOf = () => bench.places().find(({ uuid }) => uuid === shared);
  t.like(placeOf(), { owner: 'ada', turn: one });
  bench.tell(shared, create(JobLeftSchema, { principal: 'ada', turnOf: 'bob', turnWeight: 2 }));
  t.like(placeOf(), { owner: 'bob', turn: 2 * one });
  t.is(bench.places().at(-1)?.uuid, shared);
  // The same while it runs.
  bench.start(shared);
  bench.tell(shared, create(JobLeftSchema, { principal: 'bob', turnOf: 'carol', turnWeight: 1 }));
  bench.giveBack(shared);
  t.like(placeOf(), { owner: 'carol', turn: 3 * one });
  t.is(others.length, 3);
  bench.close();
});

/** What is kept beside the rows of the queue is what they say. */
function checkSums(t: ExecutionContext, { places, dump, queries }: QueueBench): void {
  const { running = [], head = [], owner_load: loads = [] } = dump();
  const heads = new Map<string, QueuedRow>();
  for (const place of places()) {
    const key = `${place.shape} ${place.owner}`;
    if (!heads.has(key)) heads.set(key, place);
  }
  t.is(head.length, heads.size);
  for (const place of heads.values()) {
    t.deepEqual(queries.firstsOfOwner([place.shape], place.owner), [place]);
    const ofList = [...heads.values()].filter(({ shape }) => shape === place.shape);
    t.deepEqual(queries.heads(place.shape, undefined, 1_000), ofList);
  }
  for (const [owner] of loads.map((row) => Object.values(row as object) as [string])) {
    t.deepEqual(queries.loadOfOwner(owner), {
      queued: places().filter((place) => place.owner === owner).length,
      running: running.filter((row) => (row as { owner: string }).owner === owner).length,
      checks: 0,
    });
  }
  t.is(queries.runningOfRepository('weather'), running.length);
  t.deepEqual(queries.loadOfOwner('nobody'), { queued: 0, running: 0, checks: 0 });
}

test('the same log gives the same turns, and one without weights the order of priority and number', (t) => {
  const step = fc.record({
    what: fc.constantFrom('request', 'request', 'request', 'start', 'back', 'raise', 'leave', 'end'),
    owner: fc.nat(3),
    cores: fc.nat(2),
    weight: fc.option(weight, { nil: undefined }),
    n: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), fc.boolean(), (steps, weighs) => {
      const bench = queueBench();
      const jobs: string[] = [];
      for (const { what, owner, cores, weight, n } of steps) {
        const uuid = jobs[n % jobs.length];
        const turnWeight = weighs ? weight : undefined;
        if (what === 'request' || uuid === undefined) {
          const facts = { owner: `owner-${owner}`, runtimeConstraints: { minCoresPerNode: cores }, priority: n % 2 };
          jobs.push(bench.request(turnWeight === undefined ? facts : { ...facts, turnWeight }));
        } else if (what === 'start') bench.start(uuid);
        else if (what === 'back') bench.giveBack(uuid);
        else if (what === 'end') bench.tell(uuid, create(JobCancelledSchema, {}));
        else if (what === 'raise') bench.tell(uuid, create(JobUpdatedSchema, { priority: owner }));
        else bench.tell(uuid, create(JobLeftSchema, { turnOf: `owner-${owner}`, ...(turnWeight && { turnWeight }) }));
      }
      const again = queueBench();
      for (const [uuid, event] of bench.told) again.tell(uuid, event);
      t.deepEqual(again.dump(), bench.dump());
      checkSums(t, bench);
      if (!weighs) {
        const places = bench.places();
        t.deepEqual(
          places.map(({ uuid }) => uuid),
          places.toSorted((a, b) => b.priority - a.priority || a.position - b.position).map(({ uuid }) => uuid),
        );
      }
      bench.close();
      again.close();
    }),
    { numRuns: 40 },
  );
});
