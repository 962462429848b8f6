import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import gossipGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import type gossipPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import test, { type ExecutionContext } from 'ava';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { readAll, subscribe, talkTo } from './kurrentdb-calls.js';
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

test('times are of 100 ns and differ; who is in the cluster is told with them', async (t) => {
  const { double, fill } = await talking(t);
  fill('job-a', 3);
  const [a = 0n, b = 0n, c = 0n] = double.log.records.map(({ created }) => created);
  t.true(a > 10n ** 16n && a < b && b < c && c - a < 210n);
  const { host, port } = double.nodes[0]?.endpoint ?? { host: '', port: 0 };
  const { credentials } = await import('@grpc/grpc-js');
  const client = new gossipGrpc.GossipClient(`${host}:${port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const info = await new Promise<InstanceType<typeof gossipPb.ClusterInfo>>((resolve, reject) =>
    client.read(new sharedPb.Empty(), new Metadata(), (error, answer) => (error ? reject(error) : resolve(answer))),
  );
  const [member] = info.getMembersList();
  t.true(member?.getInstanceId()?.hasStructured());
  t.true(BigInt(member?.getTimeStamp() ?? 0) > 10n ** 16n);
});
