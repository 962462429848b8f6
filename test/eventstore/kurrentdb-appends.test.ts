import test from 'ava';
import { type EventStore, StoreUnavailable, WrongExpectedRevision } from '../../src/eventstore/port.js';
import { collect, newEvent, numbered } from '../contract/events.js';
import type { Fault } from '../support/kurrentdb-double/faults.js';
import { until } from '../support/until.js';
import { openOnDouble } from './kurrentdb-double.js';

const once: readonly Fault[] = [{ kind: 'lose_answer' }, { kind: 'no_answer' }, { kind: 'late', ms: 6_000 }];
const never: readonly Fault[] = [{ kind: 'drop' }, { kind: 'busy' }, { kind: 'not_leader' }];

async function ids(store: EventStore, stream: string): Promise<string[]> {
  return (await collect(store.readStream(stream))).map(({ id }) => id);
}

for (const fault of [...once, ...never]) {
  test(`an append that meets ${fault.kind} is recorded once, and answered as if nothing had been`, async (t) => {
    const { double, store } = await openOnDouble(t);
    const first = numbered(3);
    const slow = fault.kind === 'no_answer' || fault.kind === 'late';
    double.faults.inject('append', fault);
    const appended = await store.append('job-a', 'no_stream', first);
    t.is(double.faults.left(), 0);
    double.faults.inject('append', fault, ...(slow ? [] : [fault]));
    const second = numbered(2, 3);
    const then = await store.append('job-a', 2, second);
    double.faults.inject('append', fault);
    const third = [newEvent(5)];
    const last = await store.append('job-a', 'any', third);
    const events = await collect(store.readStream('job-a'));
    t.deepEqual(
      events.map(({ id }) => id),
      [...first, ...second, ...third].map(({ id }) => id),
    );
    for (const { revision, position } of [appended, then, last]) t.is(events[revision]?.position, position);
    t.deepEqual([appended.revision, then.revision, last.revision], [2, 4, 5]);
  });
}

test('a lost answer is found again although the server forgot the ids, and others appended since', async (t) => {
  const { double, store } = await openOnDouble(t);
  const append = double.log.append.bind(double.log);
  // The server of the retry knows nothing of the first attempt, and the stream has gone on.
  double.log.append = (stream, expected, events) => {
    const outcome = append(stream, expected, events);
    double.log.append = append;
    double.log.forgetIds();
    for (let i = 0; i < 5; i++) {
      append(stream, 'any', [{ ...events[0], id: crypto.randomUUID() } as (typeof events)[number]]);
    }
    return outcome;
  };
  double.faults.inject('append', { kind: 'lose_answer' });
  const event = newEvent(1);
  const { revision } = await store.append('reuse-a', 'any', [event]);
  t.is(revision, 0);
  t.is((await ids(store, 'reuse-a')).filter((id) => id === event.id).length, 1);
});

test('wrong expected version after a lost answer is success if the events are there, else the conflict it is', async (t) => {
  const { double, store } = await openOnDouble(t);
  const mine = numbered(2);
  double.faults.inject('append', { kind: 'lose_answer' }, { kind: 'wrong_version' });
  t.is((await store.append('job-a', 'no_stream', mine)).revision, 1);
  double.faults.inject('append', { kind: 'drop' }, { kind: 'wrong_version' });
  const error = await t.throwsAsync(store.append('job-a', 0, numbered(2)), { instanceOf: WrongExpectedRevision });
  t.is(error.actual, 1);
  t.deepEqual(
    await ids(store, 'job-a'),
    mine.map(({ id }) => id),
  );
});

test('an append that timed out without a majority and shows later is recorded once, and no conflict before', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  const [first, second] = [numbered(2), numbered(1, 2)];
  // It shows once the adapter has met what it cannot read.
  const met = (revision: number) =>
    until('the trouble', () => troubles.some((message) => message.includes(`is at ${revision} there, which cannot`)));
  double.faults.inject('append', { kind: 'unseen', shown: met(1) });
  t.is((await store.append('job-a', 'no_stream', first)).revision, 1);
  double.faults.inject('append', { kind: 'unseen', shown: met(2) });
  t.is((await store.append('job-a', 1, second)).revision, 2);
  t.deepEqual(
    await ids(store, 'job-a'),
    [...first, ...second].map(({ id }) => id),
  );
});

test('a stream that another filled after a lost request is a conflict', async (t) => {
  const { double, store } = await openOnDouble(t);
  double.faults.inject('append', { kind: 'drop' });
  const append = double.log.append.bind(double.log);
  const other = { id: crypto.randomUUID(), type: 'X', contentType: 'application/json' };
  append('job-a', 'no_stream', [{ ...other, data: Buffer.from('1'), metadata: Buffer.from('{}') }]);
  const error = await t.throwsAsync(store.append('job-a', 'no_stream', numbered(1)), {
    instanceOf: WrongExpectedRevision,
  });
  t.is(error.actual, 0);
  t.deepEqual(await ids(store, 'job-a'), [other.id]);
});

test('many appends survive connections that are cut again and again, each recorded once', async (t) => {
  const { double, store } = await openOnDouble(t);
  const cuts: Fault[] = [{ kind: 'lose_answer' }, { kind: 'drop' }, { kind: 'busy' }];
  for (let i = 0; i < 12; i++) {
    double.faults.inject('append', ...Array.from({ length: 37 }, () => undefined), cuts[i % 3]);
  }
  const appended = await Promise.all(
    Array.from({ length: 600 }, async (_, i) => {
      const event = newEvent(i);
      const { revision, position } = await store.append(`joblog-${i % 40}`, 'any', [event]);
      return [`joblog-${i % 40}`, revision, position, event.id].join();
    }),
  );
  t.is(double.faults.left(), 0);
  const all = (await collect(store.readAll())).map((e) => [e.stream, e.revision, e.position, e.id].join());
  t.deepEqual(all.sort(), appended.sort());
});

test('appends that pile up when the network stalls and breaks are recorded once, and end no process', async (t) => {
  const { double, store } = await openOnDouble(t);
  await store.append('joblog-0', 'no_stream', [newEvent(0)]);
  const [node] = double.nodes;
  node?.stall(true);
  const big = 'x'.repeat(300_000);
  const appends = Promise.all(
    Array.from({ length: 80 }, (_, i) => store.append(`joblog-${i + 1}`, 'any', [newEvent(big)])),
  );
  // Until nothing moves any more.
  await new Promise((resolve) => setTimeout(resolve, 500));
  node?.dropConnections();
  t.is((await appends).length, 80);
  t.is((await collect(store.readAll())).length, 81);
});

test('a store that cannot be reached is unavailable by name, and is used again when it can', async (t) => {
  const { double, store } = await openOnDouble(t, { timings: { patience: 1_000 } });
  double.refuse(true);
  double.dropConnections();
  const address = double.nodes.map(({ endpoint }) => `${endpoint.host}:${endpoint.port}`).join();
  for (const call of [
    store.append('job-a', 'no_stream', numbered(1)),
    store.end(),
    collect(store.readStream('job-a')),
  ]) {
    const error = await t.throwsAsync(call, { instanceOf: StoreUnavailable });
    t.true(error.message.startsWith(`KurrentDB at ${address} cannot `), error.message);
  }
  double.refuse(false);
  // A second may be too short on a busy machine, and asking again is what a caller may do.
  const event = numbered(1);
  const again = await until('an append', () => store.append('job-b', 'no_stream', event).catch(() => undefined));
  t.is(again.revision, 0);
  const events = await until('a read', () => collect(store.readStream('job-b')).catch(() => undefined));
  t.is(events.length, 1);
});

test('a store that closes does not wait for one that is away', async (t) => {
  const { double, store } = await openOnDouble(t);
  await store.append('job-a', 'no_stream', numbered(1));
  double.refuse(true);
  double.dropConnections();
  const appends = Promise.allSettled(
    Array.from({ length: 40 }, (_, i) => store.append(`job-${i}`, 'any', numbered(1))),
  );
  const start = performance.now();
  await store.close();
  t.true((await appends).every(({ status }) => status === 'rejected'));
  t.true(performance.now() - start < 30_000, 'half of the patience');
});

test('a read that is cut goes on where it was', async (t) => {
  const { double, store } = await openOnDouble(t);
  for (let i = 0; i < 5; i++) await store.append('joblog-a', 'any', numbered(300, i * 300));
  for (const read of [() => store.readStream('joblog-a'), () => store.readAll()]) {
    double.faults.inject('read', { kind: 'lose_answer' }, undefined, { kind: 'drop' }, { kind: 'not_leader' });
    double.faults.inject('read', { kind: 'busy' }, { kind: 'no_answer' });
    t.deepEqual(
      (await collect(read())).map(({ data }) => Number(data)),
      Array.from({ length: 1_500 }, (_, i) => i),
    );
    t.is(double.faults.left(), 0);
  }
});

test('an event at a position is found; at others there is none', async (t) => {
  const { store } = await openOnDouble(t);
  const { position } = await store.append('job-a', 'no_stream', numbered(3));
  t.is((await store.eventAt(position))?.revision, 2);
  for (const other of [1, position - 1, position + 1, position + 1_000_000])
    t.is(await store.eventAt(other), undefined);
});

test('only the streams of Memoir are read', async (t) => {
  const { double, store } = await openOnDouble(t);
  const foreign = { type: 'X', contentType: 'application/json', data: Buffer.from('1'), metadata: Buffer.from('') };
  for (const stream of ['orders-1', 'jobs', 'my-job-1', '$ce-job', 'job']) {
    double.log.append(stream, 'any', [{ ...foreign, id: crypto.randomUUID() }]);
  }
  await t.throwsAsync(store.append('audit-1', 'any', numbered(1)), {
    instanceOf: TypeError,
    message: /"audit-1" is of a kind that no read of the log would give/,
  });
  const streams = ['job-1', 'reuse-1', 'joblog-1', 'image-a/b', 'exclusion-a/b'];
  for (const stream of streams) await store.append(stream, 'any', numbered(1));
  t.deepEqual(
    (await collect(store.readAll())).map(({ stream }) => stream),
    streams,
  );
});

test('an append above MaxAppendSize is refused for good, and the next one before it is sent', async (t) => {
  const { double, store } = await openOnDouble(t, { maxAppendSize: 2_000 });
  const { data, ...event } = newEvent({ text: '' });
  const least = data.length + event.metadata.length + 2 * event.type.length;
  const sized = (size: number) => ({ ...newEvent(), data: JSON.stringify({ text: 'x'.repeat(size - least) }) });
  await store.append('job-a', 'no_stream', [sized(2_000)]);
  const refused = { name: 'MemoirError', code: 'INVALID_ARGUMENT', reason: 'EVENT_TOO_LARGE' };
  for (const events of [[sized(2_001)], [sized(1_000), sized(1_001)]]) {
    const error = await t.throwsAsync(store.append('job-a', 0, events));
    t.like(error, { ...refused, metadata: { limit: '2000', bytes: '2001' } });
    t.regex(
      error?.message ?? '',
      /a JobLogAppended of stream "job-a" would take 2001 bytes, most of them in text, .* 2000 at once/,
    );
    // Whatever the server does, nothing is asked of it any more.
    double.faults.inject('append', { kind: 'no_answer' });
  }
  t.throws(() => store.checkSize?.('job-a', [sized(2_001)]), { message: /2001 bytes/ });
  t.notThrows(() => store.checkSize?.('job-a', [sized(2_000)]));
  t.is(double.faults.left(), 2);
  t.is((await ids(store, 'job-a')).length, 1);
});

test('an append above what any server takes is not sent, and what is under way goes on', async (t) => {
  const { store } = await openOnDouble(t, { maxAppendSize: 2 ** 31 });
  const big = newEvent({ text: 'x'.repeat(16 * 1024 * 1024) });
  const [refused, taken] = await Promise.allSettled([
    store.append('job-a', 'no_stream', [big]),
    store.append('job-b', 'no_stream', [newEvent()]),
  ]);
  t.is(taken?.status, 'fulfilled');
  t.like(refused, { reason: { reason: 'EVENT_TOO_LARGE' } });
});

test('JSON that would not come back as it was given is refused', async (t) => {
  const { store } = await openOnDouble(t);
  for (const data of ['{"a": 1}', '{"a":1.0}', '{"a":1,"a":2}', '{"2":0,"1":0}', '{', '1e400']) {
    await t.throwsAsync(store.append('job-a', 'any', [{ ...newEvent(), data }]), { instanceOf: TypeError }, data);
  }
  t.is((await collect(store.readStream('job-a'))).length, 0);
});

test('what the server calls a bad request is refused for good, and what is under way beside it goes on', async (t) => {
  const { double, store, troubles } = await openOnDouble(t);
  const bad = { ...newEvent(1), id: '00000000-0000-0000-0000-000000000000' };
  const [refused, taken] = await Promise.allSettled([
    store.append('job-a', 'any', [bad]),
    store.append('job-b', 'any', [newEvent(2)]),
  ]);
  t.is(taken.status, 'fulfilled');
  t.true(refused.status === 'rejected' && refused.reason instanceof StoreUnavailable);
  t.regex(
    String(refused.status === 'rejected' && refused.reason),
    /cannot append to stream "job-a": it says "BadRequest"$/,
  );
  t.is(double.log.actual('job-a'), -1);
  t.deepEqual(troubles, []);
});
