import { type ServiceError, status } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import test, { type ExecutionContext } from 'ava';
import { type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import { until } from '../support/until.js';
import { talkTo } from './kurrentdb-calls.js';
import { type Answer, appendAlone, batch, deleteStream, readStream, type Sent } from './kurrentdb-stream-calls.js';

// How the double answers appends, against what a real node was seen to answer on the wire.

const event = (): Sent => ({ id: crypto.randomUUID() });

async function talking(t: ExecutionContext, options: DoubleOptions = {}) {
  const double = await startDouble({ noiseEvery: 0, ...options });
  t.teardown(() => double.stop());
  const client = talkTo(t, double);
  const call = batch(client);
  t.teardown(() => call.cancel());
  return { double, client, ...call };
}

const wrongAt = (t: ExecutionContext, answer: Answer, actual: number, message?: string) => {
  if (!('code' in answer)) return t.fail(message);
  t.deepEqual([answer.code, answer.type], [status.ALREADY_EXISTS, 'WrongExpectedVersion'], message);
  const details = sharedPb.WrongExpectedVersion.deserializeBinary(answer.details);
  t.is(details.hasCurrentNoStream() ? -1 : Number(details.getCurrentStreamRevision()), actual, message);
};

test('what was appended before is known again, with its old position, or is a wrong version', async (t) => {
  const { double, append } = await talking(t);
  const [a0, a1, b0, b1] = [event(), event(), event(), event()];
  const first = await append('job-a', 'no_stream', [a0, a1]);
  const second = await append('job-a', 1, [b0, b1]);
  for (let i = 0; i < 50; i++) double.log.noise();
  const one = double.log.records[0]?.position;
  t.deepEqual(await append('job-a', 'no_stream', [a0, a1]), first);
  t.deepEqual(await append('job-a', 1, [b0, b1]), second);
  for (const expected of ['any', 'stream_exists'] as const) {
    t.deepEqual(await append('job-a', expected, [a0, a1]), first);
    t.deepEqual(await append('job-a', expected, [b0, b1]), second);
  }
  t.deepEqual(await append('job-a', 'no_stream', [a0]), { revision: 0, position: one });
  t.deepEqual(await append('job-a', 0, [a1]), first);
  t.deepEqual(await append('job-a', 'any', [a1]), first);
  t.deepEqual(await append('job-a', 'no_stream', [a0, a1, b0, b1]), second);
  t.like(await append('job-a', 'any', [a0, a1, b0]), { revision: 2 });
  t.like(await append('job-a', 'any', [a1, a0]), { revision: 0 }, 'in whatever order, nothing is written');
  t.like(await append('job-a', 'any', [a0, b1]), { revision: 3 }, 'with a gap too');
  t.deepEqual(await append('job-a', 'any', [a0, a1, b0, b1]), second);
  const changed = [a0, a1].map((one) => ({ ...one, data: '{"other":1}' }));
  t.deepEqual(await append('job-a', 'no_stream', changed), first, 'whatever its content');
  wrongAt(t, await append('job-a', 1, [a0, a1]), 3, 'not where it was');
  for (const expected of ['no_stream', 'any'] as const) wrongAt(t, await append('job-a', expected, [a0, event()]), 3);
  t.is(double.log.actual('job-a'), 3);
  t.like(await append('job-a', 'any', [event(), a0]), { revision: 5 }, 'a new one in front: appended');
  t.like(await append('job-a', 5, [a0, a1]), { revision: 7 }, 'at the end: appended again');
});

test('a new event before one that is in the stream twice is appended, and never answered when it is sent again', async (t) => {
  const { double, append } = await talking(t);
  const [old, recent] = [event(), event()];
  await append('job-a', 'no_stream', [old]);
  await append('job-a', 0, [old]);
  t.like(await append('job-a', 'any', [recent, old]), { revision: 3 });
  const answered = append('job-a', 'any', [recent, old]);
  // What is sent behind it is answered.
  t.like(await append('job-b', 'any', [event()]), { revision: 0 });
  const silence = new Promise((resolve) => setTimeout(resolve, 100, 'nothing'));
  t.is(await Promise.race([answered, silence]), 'nothing');
  t.is(double.log.actual('job-a'), 3);
});

test('refusals overtake what is recorded, which is answered in turn', async (t) => {
  const { double, append } = await talking(t);
  const refused = new Set([3, 8, 13, 18]);
  const order: number[] = [];
  const answers = new Map<number, Promise<unknown>>();
  let refusalsCame = () => {};
  double.faults.inject('append', { kind: 'held', until: new Promise<void>((resolve) => (refusalsCame = resolve)) });
  for (let i = 0; i < 20; i++) {
    const answer = append(`job-${i}`, refused.has(i) ? 7 : 'no_stream', [event()]);
    answers.set(
      i,
      answer.then(() => order.push(i)),
    );
  }
  await Promise.all([...refused].map((i) => answers.get(i)));
  refusalsCame();
  await Promise.all(answers.values());
  t.deepEqual(order, [...refused, ...[...order.keys()].filter((i) => !refused.has(i))]);
});

test('the ids of what was deleted are known without a position, and the stream stays missing', async (t) => {
  const { client, append } = await talking(t);
  const [a, b] = [event(), event()];
  await append('job-a', 'no_stream', [a, b]);
  await deleteStream(client, 'job-a', 1);
  t.deepEqual(await append('job-a', 'no_stream', [a, b]), { revision: 1 });
  t.deepEqual(await append('job-a', 'any', [a, b]), { revision: 1 });
  t.deepEqual(await readStream(client, 'job-a'), { missing: true });
  t.like(await append('job-a', 'stream_exists', [event()]), { code: status.NOT_FOUND, type: 'StreamDeleted' });
  wrongAt(t, await append('job-a', 7, [event()]), 1);
  t.like(await append('job-a', 'no_stream', [event()]), { revision: 2 });
  t.deepEqual(await readStream(client, 'job-a'), { events: [2], last: 2 });
  await deleteStream(client, 'job-a', 'any', true);
  for (const expected of ['any', 'no_stream', 2] as const) {
    t.like(await append('job-a', expected, [a]), { code: status.NOT_FOUND, message: 'StreamDeleted' });
  }
});

test('a wrong version says where the stream is and what was expected', async (t) => {
  const { append } = await talking(t);
  await append('job-a', 'no_stream', [event()]);
  for (const [expected, is] of [
    ['no_stream', 'hasExpectedNoStream'],
    [5, 'hasExpectedStreamPosition'],
  ] as const) {
    const answer = await append('job-a', expected, [event()]);
    wrongAt(t, answer, 0);
    const { details } = answer as { details: Uint8Array };
    t.true(sharedPb.WrongExpectedVersion.deserializeBinary(details)[is]());
  }
  wrongAt(t, await append('job-b', 'stream_exists', [event()]), -1);
  wrongAt(t, await append('job-b', 0, [event()]), -1);
});

test('no events write nothing but are answered; what is no event, or too late, is refused', async (t) => {
  const { client, double, append } = await talking(t);
  t.deepEqual(await append('job-a', 'any', []), { revision: -1, position: double.log.end() } as never);
  t.deepEqual(await readStream(client, 'job-a'), { missing: true });
  wrongAt(t, await append('job-a', 3, []), -1);
  const bad = { code: status.INVALID_ARGUMENT, message: 'BadRequest', type: 'BadRequest' };
  t.like(await append('job-a', 'any', [{ ...event(), type: '' }]), bad);
  t.like(await append('job-a', 'any', [{ id: '00000000-0000-0000-0000-000000000000' }]), bad);
  for (const id of ['', 'no uuid']) t.like(await append('job-a', 'any', [{ id }]), bad);
  for (const name of ['', '$$']) t.like(await append(name, 'any', [event()]), bad);
  for (const deadline of [0, -1_000, new Date(Date.now() - 1)]) {
    t.like(await append('job-a', 'any', [event()], deadline), { code: status.DEADLINE_EXCEEDED, message: 'Timeout' });
  }
  t.is(double.log.actual('job-a'), -1);
  t.like(
    await append('job-a', 'any', [{ ...event(), data: 'no JSON', contentType: 'text/plain' }], new Date(2 ** 42)),
    {
      revision: 0,
    },
  );
  t.is(double.log.records[0]?.contentType, 'application/octet-stream');
});

test('the size of an append is its data, metadata and twice its types, and refused above the limit; a message above 16 MiB ends the call', async (t) => {
  const { client, append, ended } = await talking(t, { maxAppendSize: 100 });
  // Metadata of 2 bytes, and types of 1 character.
  const [fits, exceeds] = [
    [30, 62],
    [31, 62],
  ].map((sizes) => sizes.map((size) => ({ ...event(), data: 'x'.repeat(size) }))) as [Sent[], Sent[]];
  t.like(await append('job-a', 'any', exceeds), {
    code: status.INVALID_ARGUMENT,
    message: 'MaximumAppendSizeExceeded',
    type: 'MaximumAppendSizeExceeded',
  });
  const alone = (await t.throwsAsync(appendAlone(client, 'job-a', 'any', exceeds))) as ServiceError;
  t.like(alone, { code: status.INVALID_ARGUMENT, details: 'Maximum Append Size of 100 Exceeded.' });
  t.deepEqual(alone.metadata.get('exception'), ['maximum-append-size-exceeded']);
  t.deepEqual(alone.metadata.get('maximum-append-size'), ['100']);
  t.like(await append('job-a', 'any', fits), { revision: 1 });
  const huge = append('job-a', 'any', [{ ...event(), data: 'x'.repeat(16 * 1024 * 1024) }]);
  const underWay = append('job-a', 'any', [event()]);
  for (const lost of [huge, underWay]) await t.throwsAsync(lost);
  t.is((await ended)?.code, status.RESOURCE_EXHAUSTED);
});

test('one append alone is answered as one of many is, its errors by the status and trailers of the call', async (t) => {
  const { client } = await talking(t);
  const sent = [event(), event()];
  const first = (await appendAlone(client, 'job-a', 'no_stream', sent)).getSuccess();
  t.is(first?.getCurrentRevision(), '1');
  for (const expected of ['no_stream', 'any', 'stream_exists'] as const) {
    t.deepEqual((await appendAlone(client, 'job-a', expected, sent)).getSuccess(), first, 'known again');
  }
  const wrong = (await appendAlone(client, 'job-a', 7, [event()])).getWrongExpectedVersion();
  t.is(wrong?.getCurrentRevision(), '1');
  t.is(wrong?.getExpectedRevision(), '7');
  t.is(Number(wrong?.getCurrentRevision2060()), 1);
  t.is(Number(wrong?.getExpectedRevision2060()), 7);
  const missing = (await appendAlone(client, 'job-b', 0, [event()])).getWrongExpectedVersion();
  t.true(missing?.hasCurrentNoStream());
  t.true(missing?.hasNoStream2060());
  t.true((await appendAlone(client, 'job-b', 'any', [])).getSuccess()?.hasNoStream());
  const untyped = (await t.throwsAsync(
    appendAlone(client, 'job-a', 'any', [{ ...event(), type: 'none' }]),
  )) as ServiceError;
  t.like(untyped, { code: status.INVALID_ARGUMENT, details: "Required Metadata Property 'type' is missing" });
  t.deepEqual(untyped.metadata.get('exception'), ['missing-required-metadata-property']);
  t.is(untyped.metadata.get('required-metadata-properties').length, 1);
  for (const [stream, bad] of [
    ['', event()],
    ['$$', event()],
    ['job-a', { id: '00000000-0000-0000-0000-000000000000' }],
    ['job-a', { ...event(), type: '' }],
  ] as const) {
    const error = await t.throwsAsync(appendAlone(client, stream, 'any', [bad]));
    t.like(error, { code: status.UNKNOWN, details: 'Exception was thrown by handler.' });
  }
  await deleteStream(client, 'job-a', 'any', true);
  const deleted = (await t.throwsAsync(appendAlone(client, 'job-a', 'any', sent))) as ServiceError;
  t.like(deleted, { code: status.FAILED_PRECONDITION, details: "Event stream 'job-a' is deleted." });
  t.deepEqual(deleted.metadata.get('stream-name'), ['job-a']);
});

test('ids of events that were scavenged are known without a position, and nothing is written', async (t) => {
  const { double, client, append } = await talking(t);
  const sent = [event(), event()];
  await append('job-a', 'no_stream', sent);
  double.log.truncate('job-a', 2);
  const before = double.log.end();
  for (const expected of ['no_stream', 'any'] as const) {
    t.deepEqual(await append('job-a', expected, sent), { revision: 1 });
    t.true((await appendAlone(client, 'job-a', expected, sent)).getSuccess()?.hasNoPosition());
  }
  t.is(double.log.end(), before);
  wrongAt(t, await append('job-a', 'no_stream', [event()]), 1, 'expected revisions are as before');
  t.like(await append('job-a', 1, [event()]), { revision: 2 });
});

test('what is no JSON, empty or without metadata is taken as it is', async (t) => {
  const { double, append } = await talking(t);
  const data = ['', '{"no": json', '\u0000'];
  t.like(
    await append(
      'job-a',
      'any',
      data.map((text) => ({ ...event(), data: text })),
    ),
    { revision: 2 },
  );
  t.deepEqual(
    double.log.records.map((record) => Buffer.from(record.data).toString()),
    data,
  );
});

test('a half close behind appends under way: all are recorded, and the call ends after an answer or a few', async (t) => {
  const { double, append, end, ended, order } = await talking(t);
  let answer = () => {};
  double.faults.inject('append', { kind: 'held', until: new Promise<void>((resolve) => (answer = resolve)) });
  for (let i = 0; i < 20; i++) append(`job-${i}`, 'any', [event()]).catch(() => undefined);
  end();
  await until('the half close', () => double.halfClosed() === 1);
  t.is(double.log.records.length, 20);
  answer();
  t.is(await ended, undefined);
  t.true(order.length >= 1 && order.length <= 10, String(order.length));
});

test('a server that is not ready says so of each append, and the call goes on', async (t) => {
  const { double, append } = await talking(t);
  double.faults.inject('append', { kind: 'busy' });
  t.like(await append('job-a', 'any', [event()]), { code: 0, message: 'Server Is Not Ready' });
  t.like(await append('job-a', 'any', [event()]), { revision: 0 });
});

test('many are answered in turn, a chain of exact revisions unawaited; a half close with nothing under way keeps the call open', async (t) => {
  const { append, end, ended } = await talking(t);
  const answers = Array.from({ length: 20 }, (_, i) => append('job-a', i === 0 ? 'no_stream' : i - 1, [event()]));
  t.deepEqual(
    (await Promise.all(answers)).map((answer) => 'revision' in answer && answer.revision),
    [...answers.keys()],
  );
  end();
  const open = new Promise((resolve) => setTimeout(resolve, 100, 'open'));
  t.is(await Promise.race([ended, open]), 'open');
});

test('at a follower the first append that needs the leader ends the call, by its name or by an exception', async (t) => {
  const { double, client } = await talking(t, { nodes: 2 });
  double.elect(1);
  const codes = new Set<number | undefined>();
  for (let i = 0; i < 2; i++) {
    const call = batch(client, { 'requires-leader': 'true' });
    await t.throwsAsync(call.append('job-a', 'any', [event()]));
    const error = await call.ended;
    codes.add(error?.code);
    if (error?.code !== status.NOT_FOUND) continue;
    const [port] = error.metadata.get('leader-endpoint-port');
    t.is(port, String(double.nodes[1]?.endpoint.port));
  }
  t.deepEqual(codes, new Set([status.NOT_FOUND, status.UNKNOWN]));
  t.is(double.log.actual('job-a'), -1);
  t.like(await batch(client).append('job-a', 'any', [event()]), { revision: 0 }, 'without the header it is passed on');
});
