import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { openReadModel, type ReadModel } from '../../projections/read-model/read-model.js';
import { unrestricted } from '../../src/domain/access.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { type EventLog, type EventStore, StoreUnavailable } from '../../src/eventstore/port.js';
import { eventFilter } from '../../src/history/event-filter.js';
import { type EventHub, openEventHub } from '../../src/history/event-hub.js';
import type { Place } from '../../src/history/place.js';
import { type Given, subscribe } from '../../src/history/subscribe.js';
import { newEvent } from '../contract/events.js';
import { test } from '../support/serial.js';

// Subscribers of a hub whose window is so small that whoever dawdles falls out of it, on a real log with a real read model.

const window = { events: 6, bytes: 1_000_000 };
const none = { repositories: [], scripts: [], owners: [], jobUuids: [] };

async function open(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-subscribe-'));
  const url = sqliteUrl(join(directory, 'events.sqlite'));
  const store = await openStore(url, systemEdge);
  const readModel = await openReadModel(url, join(directory, 'read-model.sqlite'));
  t.teardown(async () => {
    await readModel.close();
    await store.close();
    rmSync(directory, { recursive: true });
  });
  await readModel.caughtUp();
  let count = 0;
  return {
    store,
    readModel,
    appended: () => count,
    /** Appends events whose number is in their data. Every third one is of another type. */
    async append(many: number): Promise<void> {
      for (let i = 0; i < many; i++, count++) {
        const [stream, type] = count % 3 ? [`joblog-${count % 3}`, 'JobLogAppended'] : ['job-0', 'JobDeleted'];
        await store.append(stream, 'any', [newEvent({ count }, type)]);
      }
    },
  };
}

type Context = { readonly store: EventLog; readonly readModel: ReadModel };
const hubOf = ({ store, readModel }: Context): EventHub<number> =>
  openEventHub(
    { store: store as EventStore, readModel },
    ({ data }) =>
      () =>
        JSON.parse(data).count as number,
    window,
  );

const atStart: Place = { position: 0, eventId: '' };

function listen(
  hub: EventHub<number>,
  from: Place,
  types: readonly string[],
  signal: AbortSignal,
  heartbeatMs = 60_000,
) {
  const filter = eventFilter({ ...none, eventTypes: types });
  return subscribe(hub, { from, filter, access: () => unrestricted('ada'), heartbeatMs, signal }, systemEdge);
}

test('whoever reads at whatever pace gets every event once and in order', async (t) => {
  const { append, appended, ...context } = await open(t);
  const hub = hubOf(context);
  let recorded = 0;
  const pace = fc.record({
    only: fc.constantFrom<readonly string[]>(['JobLogAppended', 'JobDeleted'], ['JobDeleted']),
    /** Events that are appended between one message that it takes and the next; many make it fall out of the window. */
    rest: fc.constantFrom(0, 0, 1, 5, 20),
    /** Leaves after so many messages and comes back. */
    leaves: fc.option(fc.integer({ min: 1, max: 9 })),
    /** Begins so many events before the end of the log. */
    back: fc.integer({ min: 0, max: 30 }),
  });
  const scene = fc.record({
    readers: fc.array(pace, { minLength: 1, maxLength: 6 }),
    bursts: fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(scene, async ({ readers, bursts }) => {
      const more = bursts.reduce((sum, burst) => sum + burst, 0);
      const until = recorded + more;
      const work = readers.map(async ({ only, rest, leaves, back }) => {
        const first = Math.max(0, recorded - back);
        const expected = Array.from({ length: until - first }, (_, i) => first + i).filter(
          (i) => only.length > 1 || i % 3 === 0,
        );
        const found: number[] = [];
        // The position of event i of this log is i + 1.
        let place: Place = { position: first, eventId: '' };
        while (found.length < expected.length) {
          const stop = new AbortController();
          let taken = 0;
          for await (const given of listen(hub, place, only, stop.signal)) {
            if ('event' in given) {
              found.push(given.event);
              place = { position: given.event + 1, eventId: '' };
            } else place = given.heartbeat.place;
            if (++taken === leaves || found.length === expected.length) break;
            for (const seen = appended(); appended() < Math.min(until, seen + rest); ) await nextTurn();
          }
        }
        t.deepEqual(found, expected);
      });
      for (const burst of bursts) {
        await append(burst);
        await nextTurn();
      }
      recorded = until;
      await Promise.all(work);
    }),
    { numRuns: 25 },
  );
});

test('the moment when the past has been given is told once, and again after one fell behind', async (t) => {
  const { append, ...context } = await open(t);
  await append(20);
  const hub = hubOf(context);
  const stop = new AbortController();
  const reader = listen(hub, atStart, ['JobLogAppended', 'JobDeleted'], stop.signal);
  const next = async () => (await reader.next()).value as Given<number>;
  for (let i = 0; i < 20; i++) t.deepEqual(await next(), { event: i });
  const told = await next();
  t.true('heartbeat' in told && told.heartbeat.live && told.heartbeat.place.position === 20);
  await append(1);
  t.deepEqual(await next(), { event: 20 });
  // Others keep the hub busy meanwhile, so that its window goes on.
  await append(30);
  const other = listen(hub, atStart, ['JobDeleted'], stop.signal);
  for await (const given of other) if ('heartbeat' in given && given.heartbeat.live) break;
  for (let i = 21; i < 51; i++) t.deepEqual(await next(), { event: i });
  t.true('heartbeat' in (await next()));
  stop.abort();
  t.true((await reader.next()).done);
});

test('the log is followed once for all, and only while somebody is there', async (t) => {
  const { append, store, readModel } = await open(t);
  let following = 0;
  let begun = 0;
  const counted: EventLog = {
    ...store,
    async *subscribeAll(after, options) {
      following++;
      begun++;
      try {
        yield* store.subscribeAll(after, options);
      } finally {
        following--;
      }
    },
  };
  const hub = hubOf({ store: counted, readModel });
  const stop = new AbortController();
  const readers = Array.from({ length: 20 }, () => listen(hub, atStart, ['JobDeleted'], stop.signal));
  await append(3);
  for (const reader of readers) t.deepEqual((await reader.next()).value, { event: 0 });
  t.is(following, 1);
  stop.abort();
  for (const reader of readers) await reader.return(undefined);
  while (following > 0) await nextTurn();
  const again = listen(hub, atStart, ['JobDeleted'], new AbortController().signal);
  t.deepEqual((await again.next()).value, { event: 0 });
  t.is(begun, 2);
  await again.return(undefined);
});

test('when the log cannot be followed all subscriptions fail, and the next ones begin anew', async (t) => {
  const { append, store, readModel } = await open(t);
  await append(10);
  let broken: ((error: Error) => void) | undefined;
  const fragile: EventLog = {
    ...store,
    async *subscribeAll(after, options) {
      const failure = new Promise<never>((_, reject) => {
        broken = reject;
      });
      const batches = store.subscribeAll(after, options)[Symbol.asyncIterator]();
      for (;;) {
        const { value, done } = await Promise.race([batches.next(), failure]);
        if (done) return;
        yield value;
      }
    },
  };
  const hub = hubOf({ store: fragile, readModel });
  const { signal } = new AbortController();
  const readers = Array.from({ length: 5 }, () => listen(hub, { position: 10, eventId: '' }, ['JobDeleted'], signal));
  for (const reader of readers) t.true('heartbeat' in (await reader.next()).value);
  const ends = readers.map((reader) => t.throwsAsync(reader.next(), { instanceOf: StoreUnavailable }));
  broken?.(new StoreUnavailable('the disk is gone'));
  await Promise.all(ends);
  const again = listen(hub, atStart, ['JobDeleted'], signal);
  t.deepEqual((await again.next()).value, { event: 0 });
  await again.return(undefined);
});

test('heartbeats go on while events pass that are not wanted', async (t) => {
  const { append, ...context } = await open(t);
  const hub = hubOf(context);
  let now = 0;
  const stop = new AbortController();
  const filter = eventFilter({ ...none, eventTypes: ['JobCompleted'] });
  const subscription = { from: atStart, filter, access: () => unrestricted('ada'), heartbeatMs: 1_000 };
  const reader = subscribe(hub, { ...subscription, signal: stop.signal }, { monotonic: () => now });
  t.true('heartbeat' in (await reader.next()).value);
  let before = 0;
  for (let i = 0; i < 5; i++) {
    const next = reader.next();
    await nextTurn();
    now += 1_001;
    await append(5);
    const given = (await next).value as Given<number>;
    if (!('heartbeat' in given)) return t.fail('an event that is not wanted');
    t.true(given.heartbeat.place.position >= before);
    before = given.heartbeat.place.position;
  }
  t.true(before > 0);
  stop.abort();
});
