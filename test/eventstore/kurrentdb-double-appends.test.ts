import { status } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import test, { type ExecutionContext } from 'ava';
import { type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import { talkTo } from './kurrentdb-calls.js';
import { type Answer, batch, deleteStream, readStream, type Sent } from './kurrentdb-stream-calls.js';

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
  for (const name of ['', '$$']) t.like(await append(name, 'any', [event()]), bad);
  for (const deadline of [0, -1_000]) {
    t.like(await append('job-a', 'any', [event()], deadline), { code: status.DEADLINE_EXCEEDED, message: 'Timeout' });
  }
  t.is(double.log.actual('job-a'), -1);
  t.like(await append('job-a', 'any', [{ ...event(), data: 'no JSON', contentType: 'text/plain' }], 9_000), {
    revision: 0,
  });
  t.is(double.log.records[0]?.contentType, 'application/octet-stream');
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
