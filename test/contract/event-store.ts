import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  type Batch,
  type EventStore,
  type ExpectedRevision,
  type ReadOptions,
  type RecordedEvent,
  StoreUnavailable,
  WrongExpectedRevision,
} from '../../src/eventstore/port.js';
import { same } from '../support/same.js';
import { collect, newEvent, numbered } from './events.js';

/** A place for one log. Other tests' events may stand in it before those of a test, never among them. */
export type LogPlace = {
  /** Opens the log; opens it again after the store was closed. */
  open(): Promise<EventStore>;
  /** Removes the log. Its store is closed. */
  dispose(): Promise<void>;
};

type Scene = {
  readonly store: EventStore;
  readonly place: LogPlace;
  /** Where the log ended before the test. */
  readonly before: number;
  /** Names of streams that no other test uses. They begin as Memoir's do: some stores give no others. */
  readonly stream: (name?: string) => string;
};

/** Registers the tests that every adapter of the event store must pass. `prepare` gives a place for the log of one test. */
export function testEventStore(prepare: (t: ExecutionContext) => Promise<LogPlace>): void {
  const scene = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>) => {
    test.serial(`contract: ${title}`, async (t) => {
      const place = await prepare(t);
      const store = await place.open();
      const own = randomUUID();
      try {
        const before = await store.end();
        await run(t, { store, place, before, stream: (name = 'a') => `joblog-${name}-${own}` });
      } finally {
        await store.close();
        await place.dispose();
      }
    });
  };
  appends(scene);
  reads(scene);
  subscriptions(scene);
  closing(scene);
}

type Register = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>) => void;

function appends(scene: Register): void {
  scene('an append says where it ended, and a read finds it there', async (t, { store, stream, before }) => {
    const from = Date.now();
    const first = await store.append(stream(), 'no_stream', numbered(3));
    const second = await store.append(stream(), 2, numbered(1, 3));
    t.is(first.revision, 2);
    t.is(second.revision, 3);
    t.true(first.position > before && second.position > first.position);
    const events = await collect(store.readStream(stream()));
    t.deepEqual(
      events.map(({ revision }) => revision),
      [0, 1, 2, 3],
    );
    t.is(events[2]?.position, first.position);
    t.is(events[3]?.position, second.position);
    t.is(await store.end(), second.position);
    for (const { recordedAt } of events) t.true(recordedAt >= from - 1_000 && recordedAt <= Date.now() + 1_000);
  });

  scene('an append happens exactly where it was expected to', async (t, { store, stream }) => {
    const expectations: ExpectedRevision[] = ['any', 'no_stream', 0, 1, 2, 3];
    for (const length of [0, 1, 3]) {
      for (const expected of expectations) {
        const name = stream(`e${length}${expected}`);
        if (length > 0) await store.append(name, 'no_stream', numbered(length));
        const fits = expected === 'any' || expected === (length === 0 ? 'no_stream' : length - 1);
        const append = store.append(name, expected, numbered(2, length));
        if (fits) {
          t.is((await append).revision, length + 1);
        } else {
          const error = await t.throwsAsync(append, { instanceOf: WrongExpectedRevision });
          t.is(error.stream, name);
          t.is(error.expected, expected);
          t.is(error.actual, length - 1);
          t.true(error.message.includes(name));
        }
        const contents = (await collect(store.readStream(name))).map(({ data }) => Number(data));
        t.deepEqual(
          contents,
          Array.from({ length: fits ? length + 2 : length }, (_, i) => i),
        );
      }
    }
  });

  scene('a refused append leaves nothing, and those beside it stand', async (t, { store, stream, before }) => {
    await store.append(stream(), 'no_stream', numbered(1));
    const outcomes = await Promise.allSettled([
      store.append(stream('b'), 'no_stream', numbered(5)),
      store.append(stream(), 'no_stream', numbered(5)),
      store.append(stream('c'), 7, numbered(5)),
      store.append(stream('d'), 'any', [...numbered(2), { ...newEvent(), data: '"\ud800"' }]),
      store.append(stream('d'), 'any', [{ ...newEvent(), id: 'no-uuid' }]),
      store.append(stream('d'), 'any', []),
      store.append('', 'any', numbered(1)),
      store.append(stream('d'), -1, numbered(1)),
      store.append(stream('d'), 0.5, numbered(1)),
      store.append(stream('d'), 'any', [{ ...newEvent(), metadata: undefined as unknown as string }]),
      store.append(stream('b'), 4, numbered(1, 5)),
    ]);
    t.is(outcomes.map(({ status }) => status.charAt(0)).join(''), 'frrrrrrrrrf');
    t.is((await collect(store.readAll(before))).length, 1 + 5 + 1);
    t.is((await collect(store.readStream(stream('d')))).length, 0);
  });

  scene('of many appenders exactly one wins each revision', async (t, { store, stream }) => {
    const [appenders, rounds] = [16, 25];
    const wins: number[] = [];
    await Promise.all(
      Array.from({ length: appenders }, async (_, appender) => {
        for (let revision = 0; revision < rounds; revision++) {
          const expected = revision === 0 ? 'no_stream' : revision - 1;
          try {
            const won = await store.append(stream(), expected, [newEvent([appender, revision])]);
            t.is(won.revision, revision);
            wins.push(revision);
          } catch (error) {
            if (!(error instanceof WrongExpectedRevision)) throw error;
            t.true(error.actual >= revision);
          }
        }
      }),
    );
    t.deepEqual(
      wins.sort((a, b) => a - b),
      Array.from({ length: rounds }, (_, i) => i),
    );
    const events = await collect(store.readStream(stream()));
    t.deepEqual(
      events.map(({ data }) => JSON.parse(data)[1]),
      wins,
    );
  });

  scene('appends asked for in turn are recorded in turn', async (t, { store, stream, before }) => {
    await Promise.all(Array.from({ length: 300 }, (_, i) => store.append(stream(`s${i % 7}`), 'any', [newEvent(i)])));
    const all = await collect(store.readAll(before));
    for (let s = 0; s < 7; s++) {
      const own = all.filter((event) => event.stream === stream(`s${s}`)).map(({ data }) => Number(data));
      t.deepEqual(
        own,
        Array.from({ length: 300 }, (_, i) => i).filter((i) => i % 7 === s),
      );
    }
  });

  scene('an append that is repeated is recorded once', async (t, { store, stream }) => {
    const event = newEvent();
    await store.append(stream(), 'no_stream', [event]);
    // Some stores know the event's id again and answer as they did before, others refuse.
    await store.append(stream(), 'no_stream', [event]).catch((error) => t.true(error instanceof WrongExpectedRevision));
    t.is((await collect(store.readStream(stream()))).length, 1);
  });

  scene('an event comes back as it was given', async (t, { store, stream }) => {
    const texts = [
      '',
      '\u0000',
      'ünï©ødé',
      '日本語',
      '👩‍👩‍👧‍👦',
      '\u2028\u2029',
      '\ufeff',
      'a\u0301',
      '\uffff',
      '\u202e',
      '\\"\n',
      "'; DROP",
    ];
    const given = texts.map((text) => ({ ...newEvent({ text }), metadata: JSON.stringify({ principal: text }) }));
    const name = stream('strøm 流 👋 %2F \' "');
    await store.append(name, 'no_stream', given);
    const events = await collect(store.readStream(name));
    t.deepEqual(
      events.map(({ id, type, data, metadata }) => ({ id, type, data, metadata })),
      given,
    );
    t.true(events.every((event) => event.stream === name));
  });

  scene('big events come back whole', async (t, { store, stream, before }) => {
    const big = Array.from({ length: 12 }, (_, i) => newEvent(String.fromCharCode(97 + i).repeat(1_048_000)));
    for (const event of big) await store.append(stream(), 'any', [event]);
    for (const events of [await collect(store.readStream(stream())), await collect(store.readAll(before))]) {
      t.deepEqual(
        events.map(({ id }) => id),
        big.map(({ id }) => id),
      );
      t.true(events.every(({ data }, i) => data === big[i]?.data));
    }
  });
}

function reads(scene: Register): void {
  scene('a stream is read from anywhere in both directions', async (t, { store, stream }) => {
    const length = 2_300;
    for (let i = 0; i < length; i += 460) await store.append(stream(), 'any', numbered(460, i));
    const revisions = Array.from({ length }, (_, i) => i);
    for (const from of [undefined, 0, 1, 999, 1_000, 1_001, length - 1, length, length + 5]) {
      for (const limit of [undefined, 0, 1, 999, 1_000, 1_001, 5_000]) {
        const forwards = revisions.filter((revision) => revision >= (from ?? 0)).slice(0, limit);
        const backwards = revisions
          .filter((revision) => revision <= (from ?? length))
          .reverse()
          .slice(0, limit);
        t.deepEqual(await read(store, stream(), from, limit, 'forwards'), forwards, `${from} ${limit}`);
        t.deepEqual(await read(store, stream(), from, limit, 'backwards'), backwards, `${from} ${limit} backwards`);
      }
    }
  });

  scene('the whole log is read in order, in both directions', async (t, { store, stream, before }) => {
    for (let i = 0; i < 20; i++) await store.append(stream(`s${i % 3}`), 'any', numbered(120, i * 120));
    const all = await collect(store.readAll(before));
    t.deepEqual(
      all.map(({ data }) => Number(data)),
      Array.from({ length: 2_400 }, (_, i) => i),
    );
    t.true(all.every(({ position }, i) => position > (all[i - 1]?.position ?? before)));
    const positions = all.map(({ position }) => position);
    const at = (i: number) => positions[i] as number;
    for (const after of [before, at(0), at(1_000), at(2_398), at(2_399)]) {
      const forwards = await collect(store.readAll(after, { limit: 1_500 }));
      t.deepEqual(
        forwards.map(({ position }) => position),
        positions.filter((p) => p > after).slice(0, 1_500),
      );
      const backwards = await collect(store.readAll(after, { direction: 'backwards', limit: 1_500 }));
      const own = backwards.filter(({ position }) => position > before).map(({ position }) => position);
      t.deepEqual(
        own,
        positions
          .filter((p) => p < after)
          .reverse()
          .slice(0, 1_500),
      );
    }
    const last = await collect(store.readAll(undefined, { direction: 'backwards', limit: 1 }));
    t.deepEqual(
      last.map(({ position }) => position),
      [at(2_399)],
    );
  });

  scene('a stream without events gives none', async (t, { store, stream }) => {
    for (const options of [{}, { direction: 'backwards' }, { limit: 1 }] as ReadOptions[]) {
      same(t, await collect(store.readStream(stream(), undefined, options)), []);
      same(t, await collect(store.readStream(stream(), 3, options)), []);
    }
    same(t, await collect(store.readAll(await store.end())), []);
  });

  scene('a reader that stops early leaves the store usable', async (t, { store, stream }) => {
    await store.append(stream(), 'no_stream', numbered(50));
    for await (const { revision } of store.readStream(stream())) {
      if (revision === 3) break;
    }
    t.is((await store.append(stream(), 49, numbered(1))).revision, 50);
  });
}

async function read(
  store: EventStore,
  stream: string,
  from: number | undefined,
  limit: number | undefined,
  direction: 'forwards' | 'backwards',
): Promise<number[]> {
  const events = await collect(store.readStream(stream, from, { direction, ...(limit !== undefined && { limit }) }));
  return events.map(({ revision }) => revision);
}

function subscriptions(scene: Register): void {
  scene('a subscription catches up and goes on, without gap or repeat', async (t, { store, stream, before }) => {
    await store.append(stream('past'), 'no_stream', numbered(700));
    const [appenders, each] = [8, 60];
    const total = 700 + appenders * each;
    const following = [1, 7, 100, 1_000].map((batchSize) => follow(store, before, total, batchSize));
    let beside: Promise<RecordedEvent[]> | undefined;
    await Promise.all(
      Array.from({ length: appenders }, async (_, appender) => {
        for (let i = 0; i < each; i++) {
          await store.append(stream(`s${appender}`), 'any', [newEvent(i)]);
          // One more that begins while the appenders run.
          if (i === each / 2) beside ??= follow(store, before, total);
        }
      }),
    );
    const all = (await collect(store.readAll(before))).map(({ position, id }) => [position, id]);
    t.is(all.length, total);
    for (const events of await Promise.all([...following, beside ?? []])) {
      t.deepEqual(
        events.map(({ position, id }) => [position, id]),
        all,
      );
    }
  });

  scene('a subscription says when nothing more is there', async (t, { store, stream, before }) => {
    await store.append(stream(), 'no_stream', numbered(10));
    const stop = new AbortController();
    const batches: Batch[] = [];
    for await (const batch of store.subscribeAll(before, { batchSize: 5, signal: stop.signal })) {
      batches.push(batch);
      t.true(batch.events.length <= 5);
      t.is(batch.position, batch.events.at(-1)?.position ?? batches.at(-2)?.position ?? before);
      if (batch.live) break;
    }
    t.is(batches.flatMap(({ events }) => events).length, 10);
    const end = await store.end();
    for await (const batch of store.subscribeAll(end, { signal: stop.signal })) {
      t.deepEqual(batch, { events: [], position: end, live: true });
      break;
    }
  });

  scene('an event is the same however it is read', async (t, { store, stream, before }) => {
    const stop = new AbortController();
    const live: RecordedEvent[] = [];
    const following = store.subscribeAll(before, { signal: stop.signal })[Symbol.asyncIterator]();
    t.true((await following.next()).value.live);
    while (live.length < 3) {
      await store.append(stream(), 'any', [newEvent({ text: 'ünïcode \u2028' })]);
      live.push(...(await following.next()).value.events);
    }
    await following.return?.();
    same(t, await collect(store.readAll(before)), live);
    same(t, (await collect(store.readAll(undefined, { direction: 'backwards', limit: 3 }))).reverse(), live);
    same(t, await collect(store.readStream(stream())), live);
    t.deepEqual(await Promise.all(live.map(({ position }) => store.eventAt(position))), live);
    for await (const { events } of store.subscribeAll(before, { signal: stop.signal })) {
      t.deepEqual(events, live);
      break;
    }
  });

  scene('every append wakes a subscription that waits', async (t, { store, stream, before }) => {
    const batches = store.subscribeAll(before)[Symbol.asyncIterator]();
    t.true((await batches.next()).value.live);
    let seen = 0;
    for (let i = 0; i < 150; i++) {
      const next = batches.next();
      // Some appends meet a subscription that is about to wait, others one that waits.
      for (let turn = 0; turn < i % 3; turn++) await nextTurn();
      await store.append(stream(), 'any', [newEvent(i)]);
      const batch: Batch = (await next).value;
      for (const { data } of batch.events) t.is(Number(data), seen++);
    }
    t.is(seen, 150);
    await batches.return?.();
  });

  scene('a signal ends a subscription that waits', async (t, { store, stream, before }) => {
    await store.append(stream(), 'no_stream', numbered(3));
    const stop = new AbortController();
    const following = collect(
      (async function* () {
        for await (const batch of store.subscribeAll(before, { signal: stop.signal })) {
          yield batch.events.length;
          if (batch.live) setImmediate(() => stop.abort());
        }
      })(),
    );
    t.is(
      (await following).reduce((a, b) => a + b, 0),
      3,
    );
    same(t, await collect(store.subscribeAll(before, { signal: stop.signal })), []);
  });

  scene('a signal ends a subscription that catches up', async (t, { store, stream, before }) => {
    for (let i = 0; i < 4; i++) await store.append(stream(), 'any', numbered(500));
    const stop = new AbortController();
    let seen = 0;
    for await (const { events } of store.subscribeAll(before, { signal: stop.signal, batchSize: 1 })) {
      // A message to the thread comes as this does: only when the subscription lets others run.
      if (seen === 0) setTimeout(() => stop.abort(), 0);
      seen += events.length;
    }
    t.true(seen < 2_000, 'the signal was seen only after everything');
  });

  scene('a batch size that makes no sense is refused', async (t, { store }) => {
    for (const batchSize of [0, -1, 0.5, Number.NaN]) {
      await t.throwsAsync(collect(store.subscribeAll(0, { batchSize })), { instanceOf: RangeError });
    }
  });
}

/** The first `count` events that a subscription gives after `after`, and after them none that were there. */
async function follow(store: EventStore, after: number, count: number, batchSize?: number): Promise<RecordedEvent[]> {
  const seen: RecordedEvent[] = [];
  for await (const { events, live } of store.subscribeAll(after, batchSize ? { batchSize } : {})) {
    seen.push(...events);
    if (seen.length >= count && live) break;
  }
  return seen;
}

function closing(scene: Register): void {
  scene('closing finishes what was asked, and ends subscriptions', async (t, { store, stream, before, place }) => {
    const following = collect(store.subscribeAll(before));
    const asked = Array.from({ length: 400 }, (_, i) => store.append(stream(`s${i % 5}`), 'any', [newEvent(i)]));
    const closed = store.close();
    await t.throwsAsync(store.append(stream(), 'any', numbered(1)), { instanceOf: StoreUnavailable });
    const answers = await Promise.all(asked);
    await closed;
    await following;
    await store.close();
    const again = await place.open();
    const all = await collect(again.readAll(before));
    t.deepEqual(all.map(({ position }) => position).sort(), answers.map(({ position }) => position).sort());
    t.is((await again.append(stream('s0'), 79, numbered(1))).revision, 80);
    await again.close();
  });

  scene('a closed store refuses clearly', async (t, { store, stream }) => {
    await store.append(stream(), 'no_stream', numbered(1_500));
    const reading = store.readStream(stream())[Symbol.asyncIterator]();
    await reading.next();
    await store.close();
    const rest = async () => {
      while (!(await reading.next()).done);
    };
    await t.throwsAsync(rest(), { instanceOf: StoreUnavailable });
    await t.throwsAsync(collect(store.readAll()), { instanceOf: StoreUnavailable });
    await t.throwsAsync(store.end(), { instanceOf: StoreUnavailable });
    same(t, await collect(store.subscribeAll()), []);
  });
}
