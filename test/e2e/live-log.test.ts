import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import type { TailJobLogResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { field } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { test } from '../support/serial.js';
import { type Clients, startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const shared = serverOfFile({ repositories: { project: project.repository.path } });

test.after.always(() => {
  project.repository.dispose();
});

async function start(t: ExecutionContext, job_log_limit = 1024 * 1024) {
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { job_log_limit },
  });
  t.teardown(() => server.dispose());
  return { server, ada: server.as('ada'), bob: server.as('bob') };
}

async function running(ada: Clients, bob: Clients) {
  const uuid = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid });
  return uuid;
}

const append = (bob: Clients, uuid: string, ...texts: string[]) =>
  bob.worker.appendJobLog(texts.map((text) => ({ uuid, text })));

const shape = (pieces: readonly TailJobLogResponse[]) =>
  pieces.map(({ offset, text, truncated }) => [Number(offset), text, truncated]);

test('what is appended is read back from any offset, with offsets in bytes of UTF-8', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = await running(ada, bob);
  const first = await append(bob, uuid, 'abc', 'é字👩', '');
  t.deepEqual([first.size, first.truncated], [12n, false]);
  const second = await bob.worker.appendJobLog([{ uuid, text: 'end\n' }, { text: '\0' }]);
  t.is(second.size, 17n);
  const tail = async (offset: number) =>
    shape(await collect(ada.jobs.tailJobLog({ uuid, offset: BigInt(offset), noFollow: true })));
  const whole = [
    [0, 'abc', false],
    [3, 'é字👩', false],
    [12, 'end\n', false],
    [16, '\0', false],
  ];
  t.deepEqual(await tail(0), whole);
  t.deepEqual(await tail(3), whole.slice(1));
  t.deepEqual(await tail(2), [[2, 'c', false], ...whole.slice(1)]);
  t.deepEqual(await tail(5), [[5, '字👩', false], ...whole.slice(2)]);
  t.deepEqual(await tail(16), whole.slice(3));
  t.deepEqual(await tail(17), []);
  t.deepEqual(await tail(1_000_000), []);
  // In the middle of a character the piece begins with the whole of it, and its offset says so.
  for (const offset of [6, 7]) t.deepEqual((await tail(offset))[0], [5, '字👩', false]);
  for (const offset of [9, 10, 11]) t.deepEqual((await tail(offset))[0], [8, '👩', false]);
});

test('a log ends at its limit, between characters, and says so once', async (t) => {
  const { ada, bob } = await start(t, 10);
  const uuid = await running(ada, bob);
  t.deepEqual((await append(bob, uuid, '字字')).size, 6n);
  // Of the next two characters one fits into 10 bytes.
  const full = await append(bob, uuid, '字字', 'more');
  t.deepEqual([full.size, full.truncated], [9n, true]);
  const after = await append(bob, uuid, 'x');
  t.deepEqual([after.size, after.truncated], [9n, true], 'not even what would fit, behind a gap');
  t.deepEqual(shape(await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))), [
    [0, '字字', false],
    [6, '字', true],
  ]);
  const exact = await running(ada, bob);
  t.deepEqual(Object.values(pick(await append(bob, exact, '0123456789'))), [10n, false]);
  t.deepEqual(Object.values(pick(await append(bob, exact, '👩'))), [10n, true]);
  t.deepEqual(shape(await collect(ada.jobs.tailJobLog({ uuid: exact, noFollow: true }))), [
    [0, '0123456789', false],
    [10, '', true],
  ]);
});

const pick = ({ size, truncated }: { size: bigint; truncated: boolean }) => ({ size, truncated });

test('with a limit of nothing, nothing is kept and nothing fails', async (t) => {
  const { ada, bob } = await start(t, 0);
  const uuid = await running(ada, bob);
  t.deepEqual(pick(await append(bob, uuid, 'x', 'y')), { size: 0n, truncated: true });
  same(t, shape(await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))), [[0, '', true]]);
});

test('a tail follows from before the first byte until the job has finished, whichever way', async (t) => {
  const { ada, bob } = await start(t);
  for (const end of ['complete', 'fail', 'cancel']) {
    const uuid = uuidOf(await request(ada));
    const tails = [ada, ada, bob].map((clients) => collect(clients.jobs.tailJobLog({ uuid })));
    const reader = ada.jobs.tailJobLog({ uuid });
    await bob.worker.claimJob({ uuid });
    for (const text of ['one\n', 'two\n', 'three\n']) {
      await append(bob, uuid, text);
      t.is((await reader.next()).value?.text, text, 'at once, not at the end');
    }
    if (end === 'complete') await bob.worker.completeJob({ uuid, output: 'o', log: 'l' });
    if (end === 'fail') await bob.worker.failJob({ uuid, reason: 'X' });
    if (end === 'cancel') await ada.jobs.cancelJob({ uuid });
    t.true((await reader.next()).done);
    for (const pieces of await Promise.all(tails)) {
      t.is(pieces.map(({ text }) => text).join(''), 'one\ntwo\nthree\n');
      t.true(pieces.every(({ recordedAt }) => recordedAt !== undefined));
    }
    t.is((await collect(ada.jobs.tailJobLog({ uuid, offset: 4n }))).length, 2, 'a finished log ends at once');
  }
});

test('a job without a log has an empty one', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada));
  same(t, await collect(ada.jobs.tailJobLog({ uuid, noFollow: true })), []);
  await bob.worker.claimJob({ uuid });
  await bob.worker.completeJob({ uuid });
  same(t, await collect(ada.jobs.tailJobLog({ uuid })), []);
});

test('concurrent appends lose and mix nothing', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = await running(ada, bob);
  const lines = Array.from({ length: 60 }, (_, i) => `${i} ${'é'.repeat(i)}\n`);
  await Promise.all(lines.map((line) => append(bob, uuid, line)));
  const pieces = await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }));
  let offset = 0;
  for (const piece of pieces) {
    t.is(Number(piece.offset), offset);
    offset += Buffer.byteLength(piece.text);
  }
  t.deepEqual(pieces.map(({ text }) => text).toSorted(), lines.toSorted());
});

test('a log of many megabytes comes whole to a reader that is slow', async (t) => {
  const { ada, bob } = await start(t, 16 * 1024 * 1024);
  const uuid = await running(ada, bob);
  const piece = 'x'.repeat(1024 * 1024);
  const { size } = await append(bob, uuid, ...Array(8).fill(piece));
  t.is(size, 8n * 1024n * 1024n);
  let read = 0;
  for await (const { offset, text } of ada.jobs.tailJobLog({ uuid, noFollow: true })) {
    t.is(Number(offset), read);
    read += text.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.is(read, 8 * 1024 * 1024);
});

test('a reader may leave, and the log goes on', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = await running(ada, bob);
  const leaving = new AbortController();
  const left = collect(ada.jobs.tailJobLog({ uuid }, { signal: leaving.signal }));
  const stays = collect(ada.jobs.tailJobLog({ uuid }));
  await append(bob, uuid, 'a');
  leaving.abort();
  t.is((await failure(t, () => left)).code, 1);
  await append(bob, uuid, 'b');
  await bob.worker.completeJob({ uuid });
  t.is((await stays).map(({ text }) => text).join(''), 'ab');
});

test('an append that is refused in the middle of a stream keeps what came before', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = await running(ada, bob);
  const error = await failure(t, () =>
    bob.worker.appendJobLog([
      { uuid, text: 'kept' },
      { uuid: 'no-uuid', text: 'not kept' },
      { uuid, text: 'nor this' },
    ]),
  );
  t.is(error.reason, 'BAD_UUID');
  same(t, shape(await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))), [[0, 'kept', false]]);
});

test('a worker that breaks an upload off leaves what came before, and no error in the server', async (t) => {
  const { server, ada, bob } = await start(t);
  const uuid = await running(ada, bob);
  const client = new Client(server.address(), credentials.createInsecure());
  t.teardown(() => client.close());
  const metadata = new Metadata();
  metadata.set('memoir-principal', 'bob');
  const same = (bytes: Buffer) => bytes;
  const path = '/memoir.worker.v1.WorkerService/AppendJobLog';
  const tail = ada.jobs.tailJobLog({ uuid });
  for (const text of ['a', 'b', 'c']) {
    const call = client.makeClientStreamRequest(path, same, same, metadata, () => {});
    call.write(Buffer.concat([field(1, uuid), field(2, text)]));
    t.is((await tail.next()).value?.text, text);
    call.cancel();
  }
  await bob.worker.completeJob({ uuid });
  t.true((await tail.next()).done);
  t.deepEqual(server.errors, []);
});

test('what is there already is not taken again: a repeated upload changes nothing', async (t) => {
  const [ada, bob] = [shared.as('ada'), shared.as('bob')];
  const uuid = await running(ada, bob);
  const lines = Array.from({ length: 100 }, (_, i) => `${i} é字👩\n`);
  let end = 0;
  const upload = lines.map((text) => {
    const piece = { uuid, text, offset: BigInt(end) };
    end += Buffer.byteLength(text);
    return piece;
  });
  const whole = { size: BigInt(end), truncated: false };
  // As a retry policy does it: a first part, the whole, the whole again; and two at once.
  await bob.worker.appendJobLog(upload.slice(0, 47));
  t.deepEqual(pick(await bob.worker.appendJobLog(upload)), whole);
  t.deepEqual(pick(await bob.worker.appendJobLog(upload)), whole);
  t.deepEqual(pick(await bob.worker.appendJobLog([{ uuid, text: lines.join(''), offset: 0n }])), whole);
  const longer = [{ uuid, text: `${lines[99]}more\n`, offset: BigInt(end - Buffer.byteLength(lines[99] ?? '')) }];
  await Promise.all([1, 2, 3].map(() => bob.worker.appendJobLog(longer)));
  const pieces = await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }));
  t.is(pieces.map(({ text }) => text).join(''), `${lines.join('')}more\n`);
  t.true(pieces.length < 100, `${pieces.length} events: pieces of one call are gathered`);
});

test('an offset behind the end, inside a character or beyond any log is refused, and nothing is recorded', async (t) => {
  const [ada, bob] = [shared.as('ada'), shared.as('bob')];
  const uuid = await running(ada, bob);
  await bob.worker.appendJobLog([{ uuid, text: 'abc', offset: 0n }]);
  const refusals: [bigint, string, string][] = [
    [4n, 'd', 'LOG_GAP'],
    [4n, '', 'LOG_GAP'],
    [2n, '字', 'BAD_OFFSET'],
    [2n ** 63n, 'x', 'OUT_OF_RANGE'],
  ];
  for (const [offset, text, reason] of refusals) {
    const error = await failure(t, () => bob.worker.appendJobLog([{ uuid, text, offset }]));
    t.is(error.reason, reason, error.message);
    if (reason === 'LOG_GAP') t.deepEqual(error.metadata, { size: '3' });
  }
  same(t, shape(await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))), [[0, 'abc', false]]);
  // Without an offset in the messages that follow, each continues the one before.
  t.is((await bob.worker.appendJobLog([{ uuid, text: 'bc', offset: 1n }, { text: 'de' }])).size, 5n);
});
