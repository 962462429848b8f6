import { type ServiceError, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { until } from '../support/until.js';
import { listen, readAll, subscribe, talkTo } from './kurrentdb-calls.js';
import { deleteStream, readStream } from './kurrentdb-stream-calls.js';

// How the double answers reads of streams and what is done to them, against what a real node was seen to answer on the wire.

const event = (type = 'T', data = '{}') => ({
  id: crypto.randomUUID(),
  type,
  contentType: 'application/json',
  data: Buffer.from(data),
  metadata: Buffer.from('{}'),
});

async function talking(t: ExecutionContext) {
  const double = await startDouble({ noiseEvery: 0 });
  t.teardown(() => double.stop());
  const fill = (stream: string, count: number) =>
    double.log.append(
      stream,
      'any',
      Array.from({ length: count }, () => event()),
    );
  const setMetadata = (stream: string, data: string) =>
    double.log.append(`$$${stream}`, 'any', [event('$metadata', data)]);
  return { double, client: talkTo(t, double), fill, setMetadata };
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

test('where a stream is read from, and what is told of its end', async (t) => {
  const { client, fill } = await talking(t);
  t.deepEqual(await readStream(client, 'job-none'), { missing: true });
  fill('job-a', 6);
  t.deepEqual(await readStream(client, 'job-a'), { events: upTo(6), last: 5 });
  t.deepEqual(await readStream(client, 'job-a', { compatibility: 0 }), { events: upTo(6) });
  t.deepEqual(await readStream(client, 'job-a', { from: 6n }), { last: 5 });
  for (const from of [100n, 2n ** 63n - 1n]) {
    t.deepEqual(await readStream(client, 'job-a', { from }), { firsts: [6], last: 5 });
  }
  t.deepEqual(await readStream(client, 'job-a', { backwards: true }), { events: [0], last: 5 });
  t.deepEqual(await readStream(client, 'job-a', { from: 'end', backwards: true, count: 2 }), {
    events: [5, 4],
    last: 5,
  });
  for (const options of [{ from: 'end' }, { from: 2n ** 64n - 1n }, { count: 0 }] as const) {
    const error = await t.throwsAsync(readStream(client, 'job-a', options));
    t.like(error, { code: status.UNKNOWN, details: 'Unexpected ReadStreamResult: Error' });
  }
});

test('metadata hide the beginning of a stream at once', async (t) => {
  const { client, fill, setMetadata } = await talking(t);
  fill('job-a', 6);
  setMetadata('job-a', '{"$tb":3}');
  t.deepEqual(await readStream(client, 'job-a', { count: 10 }), { events: [3, 4, 5], last: 5 });
  t.deepEqual(await readStream(client, 'job-a', { count: 1 }), { firsts: [3], events: [3], last: 5 });
  t.deepEqual(await readStream(client, 'job-a', { from: 'end', backwards: true }), { events: [5, 4, 3], last: 5 });
  setMetadata('job-a', '{"$maxCount":2}');
  t.deepEqual(await readStream(client, 'job-a'), { events: [4, 5], last: 5 });
  setMetadata('job-a', '{"$tb":100}');
  t.deepEqual(await readStream(client, 'job-a'), { firsts: [100, 6], last: 5 });
  t.like(fill('job-a', 1), { revision: 6 });
  t.deepEqual((await readStream(client, 'job-a')).events, undefined, 'what is appended is hidden too');
  setMetadata('job-a', '{"$maxAge":0}');
  t.deepEqual(await readStream(client, 'job-a'), { firsts: [7], last: 6 });
  fill('job-b', 200);
  setMetadata('job-b', '{"$tb":150}');
  t.deepEqual(await readStream(client, 'job-b', { count: 3 }), { firsts: [150], events: [150, 151, 152], last: 199 });
  t.deepEqual((await readAll(client, { from: 'start', count: 1_000 })).length, 207, 'the whole log keeps all of it');
});

test('a deleted stream is missing, and goes on behind its old end; one deleted for good fails', async (t) => {
  const { double, client, fill } = await talking(t);
  fill('job-a', 3);
  const wrong = await t.throwsAsync(deleteStream(client, 'job-a', 7));
  t.like(wrong, {
    code: status.FAILED_PRECONDITION,
    details: 'Delete failed due to WrongExpectedVersion. Stream: job-a, Expected version: 7, Actual version: 2',
  });
  const { metadata } = wrong as ServiceError;
  t.deepEqual(metadata.get('actual-version'), ['2']);
  await deleteStream(client, 'job-a', 2);
  t.deepEqual(await readStream(client, 'job-a'), { missing: true });
  await t.notThrowsAsync(deleteStream(client, 'job-a', 'any'), 'again');
  await t.throwsAsync(deleteStream(client, 'job-none', 'any'), { message: /Actual version: -1/ });
  fill('job-a', 2);
  t.deepEqual((await readStream(client, 'job-a')).events, [3, 4]);
  const [last] = double.log.stream('$$job-a').slice(-1);
  t.is(Buffer.from(last?.data ?? '').toString(), '{"$tb":3}');
  for (const stream of ['job-a', 'job-none']) {
    await deleteStream(client, stream, 'any', true);
    for (const name of [stream, `$$${stream}`]) {
      const error = (await t.throwsAsync(readStream(client, name))) as ServiceError;
      t.is(error.code, status.FAILED_PRECONDITION);
      t.is(error.details, `Event stream '${name}' is deleted.`);
      t.deepEqual(error.metadata.get('exception'), ['stream-deleted']);
    }
  }
  const { events } = await subscribe(client, 'start');
  t.deepEqual(events, [0n, 1n, 2n, 3n, 4n, 2n ** 63n - 1n, 2n ** 63n - 1n]);
});

test('times are of 100 ns and differ', async (t) => {
  const { double, client, fill } = await talking(t);
  fill('job-a', 3);
  const [a = 0n, b = 0n, c = 0n] = double.log.records.map(({ created }) => created);
  t.true(a > 10n ** 16n && a < b && b < c && c - a < 60n * 10n ** 7n);
  const { said, cancel } = listen(client, 'start');
  await until('the events', () => said.filter((answer) => answer.hasEvent()).length === 3);
  const told = said.flatMap((answer) => answer.getEvent()?.getEvent() ?? []);
  t.deepEqual(
    told.map((event) => event.getMetadataMap().get('created')),
    [a, b, c].map(String),
  );
  cancel();
});

test('what a subscriber is told of a deletion for good has a type, a time and nothing else; of any other it hears nothing', async (t) => {
  const { double, client, fill, setMetadata } = await talking(t);
  fill('job-a', 1);
  setMetadata('job-a', '{"$maxCount":5}');
  await deleteStream(client, 'job-a', 0);
  const hidden = double.log.stream('$$job-a').at(-1);
  t.is(Buffer.from(hidden?.data ?? '').toString(), '{"$tb":9223372036854775807}');
  t.deepEqual([hidden?.type, hidden?.contentType, hidden?.revision], ['$metadata', 'application/json', 1]);
  t.is(hidden?.metadata.length, 0);
  const answer = await deleteStream(client, 'job-b', 'any', true);
  t.is(answer.getPosition()?.getCommitPosition(), String(double.log.records.at(-1)?.position));
  const { said, kinds, cancel } = listen(client, 'start');
  await until('the end', () => kinds().includes('caught up'));
  const [, mark, more] = said.flatMap((one) => one.getEvent()?.getEvent() ?? []);
  t.is(more, undefined);
  t.is(mark?.getStreamRevision(), '9223372036854775807');
  t.deepEqual([...(mark?.getMetadataMap().keys() ?? [])].sort() as unknown, ['content-type', 'created', 'type']);
  t.is(mark?.getMetadataMap().get('type'), '$streamDeleted');
  t.is(mark?.getMetadataMap().get('content-type'), 'application/octet-stream');
  t.deepEqual([mark?.getData_asU8().length, mark?.getCustomMetadata_asU8().length], [0, 0]);
  cancel();
});

test('a deletion at a wrong revision says what was expected', async (t) => {
  const { client, fill } = await talking(t);
  fill('job-a', 3);
  for (const forGood of [false, true]) {
    for (const [stream, expected, told, actual] of [
      ['job-a', 'no_stream', '-1', '2'],
      ['job-a', 1, '1', '2'],
      ['job-none', 'stream_exists', '-4', '-1'],
    ] as const) {
      const { metadata } = (await t.throwsAsync(deleteStream(client, stream, expected, forGood))) as ServiceError;
      const named = ['exception', 'stream-name', 'expected-version', 'actual-version'].map(
        (key) => metadata.get(key)[0],
      );
      t.deepEqual(named, ['wrong-expected-version', stream, told, actual]);
    }
  }
  const { metadata } = (await t.throwsAsync(deleteStream(client, 'job-none', 'any'))) as ServiceError;
  t.deepEqual(metadata.get('expected-version'), ['-2']);
});

test('expired events are in the whole log and in no stream until a scavenge, which keeps the last one', async (t) => {
  const { double, client, fill, setMetadata } = await talking(t);
  fill('job-a', 3);
  setMetadata('job-a', '{"$maxAge":0}');
  const from = BigInt(double.log.records[0]?.position ?? 0);
  t.deepEqual(await readStream(client, 'job-a'), { firsts: [3], last: 2 });
  t.deepEqual(await readAll(client, { from: 'start', count: 10 }), [0n, 1n, 2n]);
  double.log.truncate('job-a', 2);
  t.deepEqual(await readAll(client, { from: 'start', count: 10 }), [2n]);
  t.deepEqual((await readAll(client, { from, count: 10 })) as unknown, [2n]);
  t.deepEqual(await readAll(client, { from: from + 1n, count: 10, backwards: true }), []);
  t.like(double.log.append('job-a', 2, [event()]), { revision: 3 });
});
