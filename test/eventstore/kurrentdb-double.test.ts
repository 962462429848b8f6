import { type ServiceError, status } from '@grpc/grpc-js';
import test from 'ava';
import { biggest } from '../support/kurrentdb-double/checkpoints.js';
import { type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import { until } from '../support/until.js';
import { listen, readAll, subscribe, talkTo } from './kurrentdb-calls.js';
import { batch } from './kurrentdb-stream-calls.js';

// The double against what a real node was seen to answer on the wire.

const job = (i: number) => ({
  id: `00000000-0000-4000-8000-${i.toString(16).padStart(12, '0')}`,
  type: 'JobRequested',
  contentType: 'application/json',
  data: Buffer.from(`${i}`),
  metadata: Buffer.from('{}'),
});

type Told = readonly (readonly [commit: number | bigint, prepare: number | bigint])[];

/** Checkpoints of a subscription from the start until it has caught up, by the records that are in the log. */
for (const [records, told] of [
  [0, () => [[biggest, biggest]]],
  [30, () => [[biggest, biggest]]],
  [31, () => [[0, 0]]],
  [62, () => [[0, 0]]],
  [
    63,
    (at) => [
      [0, 0],
      [at(31), 0],
    ],
  ],
  [
    95,
    (at) => [
      [0, 0],
      [at(31), 0],
      [at(63), 0],
    ],
  ],
] as readonly (readonly [number, (at: (n: number) => number) => Told])[]) {
  test(`checkpoints from the start among ${records} records that do not match`, async (t) => {
    const { double, client } = await talking(t);
    for (let i = 0; i < records; i++) double.log.noise();
    const at = (n: number) => double.log.records[n - 1]?.position ?? 0;
    const { checkpoints } = await subscribe(client, 'start');
    t.deepEqual(checkpoints, bigints(told(at)));
  });
}

for (const [behind, told] of [
  [0, () => []],
  [1, (at) => [[at(1), at(1)]]],
  [62, (at) => [[at(1), at(1)]]],
  [
    64,
    (at) => [
      [at(1), at(1)],
      [at(33), 0],
    ],
  ],
] as readonly (readonly [number, (at: (n: number) => number) => Told])[]) {
  test(`checkpoints from a position before ${behind} records that do not match`, async (t) => {
    const { double, client } = await talking(t);
    for (let i = 0; i <= behind; i++) double.log.noise();
    const at = (n: number) => double.log.records[n - 1]?.position ?? 0;
    const { checkpoints } = await subscribe(client, BigInt(at(1)));
    t.deepEqual(checkpoints, bigints(told(at)));
  });
}

test('the last event that matches is the checkpoint of an unfinished window; from the end there is none', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0), job(1)]);
  for (let i = 0; i < 5; i++) double.log.noise();
  const at = BigInt(double.log.records[1]?.position ?? 0);
  const { checkpoints, events } = await subscribe(client, 'start');
  t.deepEqual([checkpoints, events], [[[at, at]], [0n, 1n]]);
  t.deepEqual(await subscribe(client, 'end'), { checkpoints: [], events: [] });
  t.deepEqual(await subscribe(client, biggest), { checkpoints: [], events: [] });
  t.deepEqual(await subscribe(client, 10n ** 12n), { checkpoints: [], events: [] });
});

test('a subscription is confirmed, then sends what there is, a checkpoint, and a mark without content; live, a checkpoint ends each window', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0), job(1)]);
  const at = (n: number) => double.log.records[n - 1]?.position;
  const { said, kinds, cancel } = listen(client, 'start');
  const begun = ['confirmation', 'event 0', 'event 1', `checkpoint ${at(2)}/${at(2)}`, 'caught up'];
  await until('the end', () => kinds().length === begun.length);
  t.deepEqual(kinds(), begun);
  t.regex(said[0]?.getConfirmation()?.getSubscriptionId() ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  t.is(said.at(-1)?.getCaughtUp()?.serializeBinary().length, 0);
  for (let i = 0; i < 31; i++) double.log.noise();
  double.log.append('job-a', 'any', [job(2)]);
  for (let i = 0; i < 32; i++) double.log.noise();
  const live = ['event 2', `checkpoint ${at(34)}/${at(34)}`, `checkpoint ${at(66)}/${at(66)}`];
  await until('two windows', () => kinds().length >= begun.length + live.length);
  t.deepEqual(kinds().slice(begun.length), live);
  cancel();
});

test('a subscription from beyond the end holds back what comes until it is behind there', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0)]);
  const from = BigInt(double.log.end()) + 1n;
  const { kinds, cancel } = listen(client, from);
  await until('the end', () => double.caughtUp() === 1);
  double.log.append('job-a', 'any', [job(1)]);
  double.log.append('job-a', 'any', [job(2)]);
  await until('an event', () => kinds().length === 3);
  t.deepEqual(kinds(), ['confirmation', 'caught up', 'event 2']);
  cancel();
});

test('a subscription stays open, silent, while the lead is given away or lost; it ends with its own node alone', async (t) => {
  const { double, client } = await talking(t, { nodes: 3 });
  const atLeader = [listen(client, 'start', { 'requires-leader': 'true' }), listen(client, 'start')];
  await until('both', () => atLeader.every(({ kinds }) => kinds().includes('caught up')));
  const before = atLeader.map(({ kinds }) => kinds());
  double.resign().elect(1);
  double.elect(0);
  const lonely = double.loseMajority();
  lonely.notice();
  t.deepEqual(await readAll(client, { from: 'start', count: 1 }), []);
  t.deepEqual(
    atLeader.map(({ kinds }) => kinds()),
    before,
  );
  lonely.regain();
  const atFollower = listen(talkTo(t, double, 1), 'start');
  await until('the third', () => double.caughtUp() === 3);
  double.log.append('job-a', 'any', [job(0)]);
  const all = [...atLeader, atFollower];
  await until('the event', () => all.every(({ kinds }) => kinds().includes('event 0')));
  double.kill(0);
  for (const { ended } of atLeader) {
    const error = await ended;
    t.is(error?.code, status.UNAVAILABLE);
    t.regex(error?.details ?? '', /ECONNRESET|Connection dropped/);
  }
  double.log.append('job-a', 'any', [job(1)]);
  await until('the next event', () => atFollower.kinds().includes('event 1'));
  atFollower.cancel();
});

test('a subscription from where no record begins is confirmed, then refused; a position that cannot be one is not', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0)]);
  const at = BigInt(double.log.records[0]?.position ?? 0);
  const details = 'Trying to read from an invalid position.';
  await t.throwsAsync(subscribe(client, at + 1n), { message: new RegExp(details) });
  await t.throwsAsync(subscribe(client, 2n ** 63n), { message: /Exception was thrown by handler/ });
});

test('a position that was scavenged, or is inside a record that was, is gone on from at the next one', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0), job(1)]);
  double.log.append('job-b', 'any', [job(2)]);
  const at = BigInt(double.log.records[0]?.position ?? 0);
  double.log.truncate('job-a', 1);
  for (const from of [at, at + 1n]) {
    t.deepEqual((await subscribe(client, from)).events, [1n, 0n]);
    t.deepEqual(await readAll(client, { from, count: 10 }), [1n, 0n]);
  }
});

test('reads of the whole log from beyond its end, and from where no record begins', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0), job(1)]);
  const end = BigInt(double.log.end());
  for (const from of [end, end + 1n, 2n ** 63n - 1n, biggest])
    t.deepEqual(await readAll(client, { from, count: 10 }), []);
  t.deepEqual(await readAll(client, { from: biggest, count: 10, backwards: true }), [1n, 0n]);
  const inside = BigInt(double.log.records[0]?.position ?? 0) + 1n;
  for (const [from, backwards, details] of [
    [end, true, 'Unexpected FilteredReadAllResult: InvalidPosition'],
    [end + 10n, true, 'Unexpected FilteredReadAllResult: Error'],
    [inside, true, 'Unexpected FilteredReadAllResult: InvalidPosition'],
    [inside, false, 'Unexpected FilteredReadAllResult: InvalidPosition'],
    [2n ** 63n, false, 'Exception was thrown by handler.'],
  ] as const) {
    const error = await t.throwsAsync(readAll(client, { from, count: 10, backwards }));
    t.like(error, { code: status.UNKNOWN, details }, String(from));
  }
  for (const [from, backwards, why] of [
    [end, true, 'InvalidPosition'],
    [end + 10n, true, 'Error'],
    [inside, false, 'InvalidPosition'],
  ] as const) {
    const error = await t.throwsAsync(readAll(client, { from, count: 10, backwards, filtered: 'no filter' }));
    t.like(error, { code: status.UNKNOWN, details: `Unexpected ReadAllResult: ${why}` });
  }
});

test('a position between two records by its prepare position is behind the record before it', async (t) => {
  const { double, client } = await talking(t);
  double.log.append('job-a', 'any', [job(0), job(1), job(2)]);
  const commit = BigInt(double.log.records[1]?.position ?? 0);
  for (const prepare of [0n, commit - 1n]) {
    t.deepEqual((await subscribe(client, { commit, prepare })).events, [1n, 2n], 'sent again');
    t.deepEqual(await readAll(client, { from: { commit, prepare }, count: 10, backwards: true }), []);
  }
  t.deepEqual((await subscribe(client, commit)).events, [2n]);
  t.deepEqual(await readAll(client, { from: commit, count: 10, backwards: true }), [0n]);
  const beyond = { commit, prepare: commit + 1n };
  await t.throwsAsync(subscribe(client, beyond), { message: /Exception was thrown by handler/ });
});

test('a subscriber that falls behind catches up again', async (t) => {
  const { double, client } = await talking(t);
  const following = subscribe(client, 'start', 2);
  await until('the subscription', () => double.caughtUp() === 1);
  for (let i = 0; i < 1_200; i++) double.log.append('job-a', 'any', [job(i)]);
  t.is((await following).events.length, 1_200);
});

test('a subscription that needs the leader is confirmed by a follower, then refused', async (t) => {
  const { double, client } = await talking(t, { nodes: 2 });
  double.elect(1);
  const heard: string[] = [];
  const error = await t.throwsAsync(subscribe(client, 'start', 1, heard));
  t.like(error, { code: status.NOT_FOUND, details: 'Leader info available' });
  t.deepEqual(heard, ['confirmation']);
});

test('what is no read of the log is refused, or never answered', async (t) => {
  const { client } = await talking(t);
  const none = readAll(client, { from: 'start', count: 10, filtered: false });
  const details = 'The combination of (All, Count, Forwards, None) is invalid.';
  t.like(await t.throwsAsync(none), { code: status.INVALID_ARGUMENT, details });
  const never = readAll(client, { from: 'start', count: 0 });
  const open = new Promise((resolve) => setTimeout(resolve, 100, 'open'));
  t.is(await Promise.race([never.catch(() => 'ended'), open]), 'open');
});

test('a connection takes 100 calls at once; the 101st waits without a word', async (t) => {
  const { double, client } = await talking(t);
  const calls = Array.from({ length: 100 }, () => listen(client, 'start'));
  await until('100 subscriptions', () => double.caughtUp() === 100);
  const one = subscribe(client, 'start');
  const open = new Promise((resolve) => setTimeout(resolve, 100, 'open'));
  t.is(await Promise.race([one, open]), 'open');
  double.log.append('job-a', 'any', [job(0)]);
  calls[0]?.cancel();
  t.deepEqual((await one).events, [0n]);
  for (const { cancel } of calls) cancel();
});

test('a node that ends refuses, then hangs, then resets what is open without a status', async (t) => {
  const { double, client } = await talking(t);
  const following = subscribe(client, 'start', 2);
  following.catch(() => undefined);
  const call = batch(client);
  call.ended.catch(() => undefined);
  await until('the subscription', () => double.caughtUp() === 1);
  const ending = double.nodes[0]?.terminate();
  const refused = await t.throwsAsync(readAll(client, { from: 'start', count: 1 }));
  t.like(refused, { code: status.UNAVAILABLE, details: 'Server Is Not Ready' });
  const answer = await call.append('job-a', 'any', [{ id: crypto.randomUUID() }]);
  t.like(answer, { code: 0, message: 'Server Is Not Ready' });
  ending?.hang();
  const hanging = readAll(client, { from: 'start', count: 1 });
  hanging.catch(() => undefined);
  const open = new Promise((resolve) => setTimeout(resolve, 100, 'open'));
  t.is(await Promise.race([hanging, open]), 'open');
  ending?.reset();
  const reset = /^Received RST_STREAM with code 0/;
  t.regex(((await t.throwsAsync(following)) as ServiceError).details, reset);
  t.is((await call.ended)?.code, status.INTERNAL);
});

test('who is told what of credentials', async (t) => {
  const [user, reader] = [
    { name: 'a', password: 'b' },
    { name: 'r', password: 'r' },
  ];
  const { client } = await talking(t, { user, reader });
  const header = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  for (const [authorization, code, details] of [
    [undefined, status.PERMISSION_DENIED, 'Access Denied'],
    ['Bearer x', status.PERMISSION_DENIED, 'Access Denied'],
    [header('a:c'), status.UNAUTHENTICATED, 'Unauthenticated'],
    [header('nobody:b'), status.UNAUTHENTICATED, 'Unauthenticated'],
    ['Basic AAAA', status.UNKNOWN, 'Received HTTP status code 500'],
  ] as const) {
    const error = await t.throwsAsync(readAll(client, { from: 'start', count: 1, authorization }));
    t.like(error, { code, details });
  }
  for (const right of ['a:b', 'r:r']) {
    t.deepEqual(await readAll(client, { from: 'start', count: 1, authorization: header(right) }), []);
  }
  const call = batch(client, { authorization: header('r:r') });
  t.teardown(() => call.cancel());
  for (let i = 0; i < 2; i++) {
    const answer = await call.append('job-a', 'any', [{ id: crypto.randomUUID() }]);
    t.like(answer, { code: status.PERMISSION_DENIED, message: 'AccessDenied', type: 'AccessDenied' });
  }
});

const bigints = (told: Told) => told.map(([commit, prepare]) => [BigInt(commit), BigInt(prepare)]);

async function talking(t: Parameters<typeof talkTo>[0], options: DoubleOptions = {}) {
  const double = await startDouble({ noiseEvery: 0, ...options });
  t.teardown(() => double.stop());
  return { double, client: talkTo(t, double) };
}
