import test from 'ava';
import type { EventStore, RecordedEvent } from '../../src/eventstore/port.js';
import { collect, newEvent, numbered } from '../contract/events.js';
import { same } from '../support/same.js';
import { until } from '../support/until.js';
import { follower, openOnDouble } from './kurrentdb-double.js';

async function fill(store: EventStore, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) await store.append(`joblog-${i % 5}`, 'any', [newEvent(i)]);
}

const numbers = (events: readonly RecordedEvent[]) => events.map(({ data }) => Number(data));
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

test('a subscription goes on through dropped connections, without gap or repeat', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  const following = follower(store);
  for (let round = 0; round < 6; round++) {
    await fill(store, round * 40, 20);
    double.dropConnections();
    await fill(store, round * 40 + 20, 20);
  }
  await following.until(240);
  await following.end();
  t.deepEqual(numbers(following.events), upTo(240));
  t.true(troubles.length > 0);
});

test('a subscription that cannot reach the store tries on, and says so', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  await fill(store, 0, 10);
  const following = follower(store);
  await following.until(10);
  double.refuse(true);
  double.dropConnections();
  const outOfReach = /^KurrentDB at 127\.0\.0\.1:\d+ cannot follow the log: /;
  while (troubles.filter((message) => outOfReach.test(message)).length < 4) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  double.refuse(false);
  await fill(store, 10, 10);
  await following.until(20);
  await following.end();
  t.deepEqual(numbers(following.events), upTo(20));
});

test('a subscription begins again after NotLeader, overload and silence of the server', async (t) => {
  const { double, store } = await openOnDouble(t);
  double.faults.inject('subscribe', { kind: 'not_leader' }, { kind: 'busy' }, { kind: 'no_answer' }, { kind: 'drop' });
  const following = follower(store);
  await fill(store, 0, 50);
  await following.until(50);
  while (double.faults.left() > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await fill(store, 50, 50);
  await following.until(100);
  await following.end();
  t.deepEqual(numbers(following.events), upTo(100));
});

test('after trouble the subscriber hears that nothing more is there', async (t) => {
  const { double, store } = await openOnDouble(t);
  await fill(store, 0, 3);
  const following = follower(store);
  await following.until(3);
  // What is not connected yet does not break.
  await until('the subscription has caught up', () => double.caughtUp() > 0);
  const before = following.batches.length;
  double.dropConnections();
  while (following.batches.length === before) await new Promise((resolve) => setTimeout(resolve, 10));
  await following.end();
  const { events, live, position } = following.batches[before] ?? {};
  t.deepEqual({ events, live, position }, { events: [], live: true, position: await store.end() });
});

test('a subscription that falls silent behind the end of the log is begun again', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  await fill(store, 0, 20);
  const following = follower(store);
  await following.until(20);
  for (let round = 1; round <= 3; round++) {
    double.silenceSubscriptions();
    await fill(store, round * 20, 20);
    await following.until(round * 20 + 20);
  }
  await following.end();
  t.deepEqual(numbers(following.events), upTo(80));
  t.true(troubles.some((message) => /stays at position \d+ although the log goes on to \d+/.test(message)));
});

test('a subscription passes the events of a truncated stream, where one of the server hangs', async (t) => {
  const { double, store } = await openOnDouble(t);
  await fill(store, 0, 5);
  const following = follower(store);
  await following.until(5);
  double.faults.inject('subscribe', { kind: 'drop' });
  double.refuse(true);
  double.dropConnections();
  // While it is away, a stream grows and is truncated before it is back.
  const late = numbered(30, 100).map(({ id, type, data, metadata }) => ({
    id,
    type,
    contentType: 'application/json',
    data: Buffer.from(data),
    metadata: Buffer.from(metadata),
  }));
  for (const event of late) double.log.append('joblog-truncated', 'any', [event]);
  double.truncateAndHang('joblog-truncated', 25);
  double.refuse(false);
  await fill(store, 5, 20);
  await following.until(30);
  await following.end();
  t.deepEqual(numbers(following.events), [...upTo(5), 125, 126, 127, 128, 129, ...upTo(25).slice(5)]);
});

test('an idle subscription among events of others stays where it is, and hears the next event', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  await fill(store, 0, 1);
  const following = follower(store);
  await following.until(1);
  const end = await store.end();
  for (let i = 0; i < 200; i++) double.log.noise();
  await new Promise((resolve) => setTimeout(resolve, 400));
  t.is(following.batches.at(-1)?.position, end);
  t.deepEqual(troubles, []);
  double.dropConnections();
  await fill(store, 1, 1);
  await following.until(2);
  await following.end();
  t.deepEqual(numbers(following.events), [0, 1]);
});

test('a slow subscriber holds the server back, and misses nothing', async (t) => {
  const { store } = await openOnDouble(t);
  for (let i = 0; i < 30; i++) await store.append('joblog-a', 'any', numbered(200, i * 200));
  const seen: number[] = [];
  const appending = fill(store, 6_000, 100);
  for await (const { events } of store.subscribeAll(0, { batchSize: 50 })) {
    seen.push(...numbers(events));
    if (seen.length % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    if (seen.length === 6_100) break;
  }
  await appending;
  t.deepEqual(seen, upTo(6_100));
});

test('subscriptions end with the store', async (t) => {
  const { double, store } = await openOnDouble(t);
  const [reached, unreached] = [follower(store), follower(store)];
  await fill(store, 0, 1);
  await Promise.all([reached.until(1), unreached.until(1)]);
  double.refuse(true);
  double.dropConnections();
  await store.close();
  await Promise.all([reached.end(), unreached.end()]);
  same(t, await collect(store.subscribeAll()), []);
});

for (const others of [0, 5, 40, 100]) {
  test(`a subscription of a log without an event of Memoir among ${others} of others survives its connections`, async (t) => {
    const { double, store, troubles } = await openOnDouble(t, { noiseEvery: 0 });
    for (let i = 0; i < others; i++) double.log.noise();
    const following = follower(store);
    for (let round = 1; round <= 3; round++) {
      await until('a subscription', () => double.caughtUp() >= round);
      double.dropConnections();
    }
    await until('another subscription', () => double.caughtUp() > 3);
    await fill(store, 0, 3);
    await following.until(3);
    double.dropConnections();
    await fill(store, 3, 3);
    await following.until(6);
    await following.end();
    t.deepEqual(numbers(following.events), upTo(6));
    t.deepEqual(
      troubles.filter((message) => /BigInt|precision/.test(message)),
      [],
    );
  });
}
