import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { LogRefused, StoreUnreadable, WrongExpectedRevision } from '../../src/eventstore/port.js';
import { CallAborted, startThread, type Thread, ThreadEnded } from '../../src/threads/thread.js';
import { threadOnDemand } from '../../src/threads/thread-on-demand.js';
import { until } from '../support/until.js';
import type { SampleData, SampleThread } from './sample-thread.js';

// The channel to a thread, with real threads.

const file = new URL('./sample-thread.js', import.meta.url);
const errors = [LogRefused, StoreUnreadable, WrongExpectedRevision];
const shared = () => new Int32Array(new SharedArrayBuffer(8));

function start(t: ExecutionContext, begin: SampleData['begin'] = 'well', counts = shared()): Thread<SampleThread> {
  const thread = startThread<SampleThread>(file, { begin, counts }, { name: 'the sample', errors });
  t.teardown(() => thread.terminate());
  return thread;
}

test('what is asked is answered, at once or later, whoever asked first', async (t) => {
  const { call, opened, alive } = start(t);
  const answers = [call.later(1), call.double(2), call.later(3)];
  await opened;
  t.deepEqual(await Promise.all(answers), [2, 4, 6]);
  t.true(alive());
});

test('what is asked before a thread has begun waits for that', async (t) => {
  t.is(await start(t, 'late').call.double(4), 8);
});

test('an error comes out as what it was, with its causes', async (t) => {
  const { call } = start(t);
  for (const fail of [call.fail, call.failLater]) {
    const memoir = await t.throwsAsync(fail('memoir'), {
      instanceOf: MemoirError,
      message: 'repository "a" is damaged',
    });
    t.like(memoir, { code: 'DATA_LOSS', reason: 'REPOSITORY_DAMAGED', field: 'repository', name: 'MemoirError' });
    t.deepEqual(memoir.metadata, { repository: 'a' });
    t.regex(memoir.stack ?? '', /sample-thread/);
    const range = memoir.cause as Error;
    t.true(range instanceof RangeError);
    t.like(range.cause as Error, { name: 'OldError', message: 'disk I/O error', code: 'SQLITE_IOERR' });

    const store = await t.throwsAsync(fail('store'), { instanceOf: WrongExpectedRevision });
    t.like(store, { stream: 'job-1', expected: 'no_stream', actual: 4 });
    t.like(await t.throwsAsync(fail('refused'), { instanceOf: LogRefused }), { reason: 'NEWER_LOG' });

    const odd = (await t.throwsAsync(fail('unsendable'))) as Error & { code: string; fine: object };
    t.like(odd, { name: 'Unsendable', message: 'odd', code: 'ODD', fine: { a: 1 } });
    t.false('unsendable' in odd);
    t.like(await t.throwsAsync(fail('old')), { name: 'OldError', message: 'disk I/O error' });
    t.is((await t.throwsAsync(fail('text'))).message, 'only a text');
    t.is((await t.throwsAsync(fail('nothing'))).message, 'undefined was thrown, which is no error');
  }
  t.is(await call.double(1), 2, 'it goes on');
});

test('what a method tells comes before its answer, all of it and in order', async (t) => {
  const { call } = start(t);
  const told: number[] = [];
  const other: number[] = [];
  const counted = call.count(1_000, { onTold: (n) => void told.push(n) });
  await call.count(2, { onTold: (n) => void other.push(n) });
  t.is(await counted, 'done');
  t.deepEqual(
    told,
    Array.from({ length: 1_000 }, (_, i) => i + 1),
  );
  t.deepEqual(other, [1, 2]);
});

test('a call that is aborted fails, with the reason of the signal as its cause, once the thread has broken off', async (t) => {
  const counts = shared();
  const { call } = start(t, 'well', counts);
  const reason = new MemoirError('CANCELLED', 'GONE', 'the caller is gone');
  const aborted = call.untilAborted('reason', { signal: AbortSignal.abort(reason) });
  t.is((await t.throwsAsync(aborted, { instanceOf: CallAborted })).cause, reason);
  await call.double(1);
  t.is(counts[0], 0, 'it was not even asked');
  for (const how of ['reason', 'node'] as const) {
    const controller = new AbortController();
    const waiting = call.untilAborted(how, { signal: controller.signal });
    const other = call.later(1);
    controller.abort(reason);
    t.is((await t.throwsAsync(waiting, { instanceOf: CallAborted })).cause, reason);
    t.is(await other, 2);
  }
  t.is(counts[0], 1);
});

test('an abort hides neither an answer nor an error of its own', async (t) => {
  const { call } = start(t);
  for (const how of ['answer', 'own error'] as const) {
    const controller = new AbortController();
    const waiting = call.untilAborted(how, { signal: controller.signal });
    controller.abort();
    if (how === 'answer') t.is(await waiting, 'answered all the same');
    else t.like(await t.throwsAsync(waiting, { instanceOf: MemoirError }), { reason: 'CLEANING' });
  }
  const controller = new AbortController();
  t.is(await call.double(1, { signal: controller.signal }), 2);
  controller.abort();
  t.is(await call.double(2), 4, 'what was answered cannot be aborted any more');
});

test('memory is handed over in both directions', async (t) => {
  const { call } = start(t);
  const memory = Uint8Array.of(1, 2, 3);
  const answer = call.move(memory, { handOver: [memory.buffer] });
  t.is(memory.length, 0, 'it is not here any more');
  const { memory: back, length } = await answer;
  t.deepEqual([...back], [2, 4, 6]);
  t.is(length, 3);
});

test('what cannot be sent fails its own call', async (t) => {
  const { call } = start(t);
  const ask = (() => 1) as never;
  const unsent = { instanceOf: TypeError, message: /^what the sample is asked cannot be sent: .*=> 1.* cloned/ };
  await t.throwsAsync(call.double(ask), unsent);
  await t.throwsAsync(call.unsendable(undefined), { ...unsent, message: /^what a thread answers cannot be sent/ });
  const unknown = (call as unknown as Record<string, () => Promise<unknown>>).constructor as () => Promise<unknown>;
  await t.throwsAsync(unknown(), { instanceOf: TypeError, message: 'the thread has no method constructor' });
  t.is(await call.double(1), 2);
});

for (const [how, message, cause] of [
  ['exit', 'the sample has ended unexpectedly with exit code 3', undefined],
  ['throw', 'the sample has ended unexpectedly: disk I/O error', { name: 'OldError', code: 'SQLITE_IOERR' }],
  ['throw nothing', 'the sample has ended unexpectedly: undefined was thrown, which is no error', { name: 'Error' }],
  ['reject', 'the sample has ended unexpectedly: repository "a" is damaged', { reason: 'REPOSITORY_DAMAGED' }],
] as const) {
  test(`a thread that ends by ${how} is told to all who wait, and to those who come later`, async (t) => {
    const thread = start(t);
    const controller = new AbortController();
    const waiting = [
      thread.call.end(how),
      thread.call.untilAborted('reason', { signal: controller.signal }),
      thread.call.untilAborted('reason'),
    ];
    const why = await thread.ended;
    t.true(why instanceof ThreadEnded);
    t.is(why.message, message);
    if (cause) t.like(why.cause, cause);
    else t.is(why.cause, undefined);
    for (const one of waiting) t.is<unknown, unknown>(await t.throwsAsync(one), why);
    t.is<unknown, unknown>(await t.throwsAsync(thread.call.double(1)), why);
    t.false(thread.alive());
    controller.abort();
    await thread.close();
    await thread.terminate();
  });
}

test('what a thread could not begin for fails all calls', async (t) => {
  const thread = start(t, 'unreadable');
  const asked = thread.call.double(1);
  for (const one of [thread.opened, asked, thread.call.double(2)]) {
    await t.throwsAsync(one, { instanceOf: StoreUnreadable, message: 'no log' });
  }
  t.true((await thread.ended) instanceof StoreUnreadable);
  await t.throwsAsync(thread.call.double(3), { instanceOf: StoreUnreadable });

  const odd = start(t, 'by nobody’s catch');
  await t.throwsAsync(odd.opened, { instanceOf: ThreadEnded, message: /unexpectedly: disk I\/O error$/ });

  const none = startThread<SampleThread>(new URL('./none.js', file), {} as SampleData, { name: 'none' });
  await t.throwsAsync(none.call.double(1), {
    instanceOf: ThreadEnded,
    message: /^none has ended .*Cannot find module/,
  });
});

test('closing aborts what is under way, waits for it, and for what the thread does last', async (t) => {
  const counts = shared();
  const thread = start(t, 'well', counts);
  const broken = thread.call.untilAborted('reason');
  const whole = thread.call.untilAborted('answer');
  await thread.call.double(1);
  const closing = thread.close();
  await t.throwsAsync(thread.call.double(1), { instanceOf: ThreadEnded, message: 'the sample is closed' });
  await t.throwsAsync(broken, { instanceOf: ThreadEnded, message: 'the sample is closed' });
  t.is(await whole, 'answered all the same');
  await Promise.all([closing, thread.close()]);
  t.deepEqual([...counts], [2, 1]);
});

test('a thread that listens to nobody can be terminated', async (t) => {
  const counts = shared();
  const { call, terminate } = start(t, 'well', counts);
  const spinning = call.spin(undefined);
  await until('it listens to nobody', () => Atomics.load(counts, 0) > 0);
  await terminate();
  await t.throwsAsync(spinning, { instanceOf: ThreadEnded, message: 'the sample was ended' });
});

test('a thread on demand is started by a call, and by the next one again if it died', async (t) => {
  let started = 0;
  const counts = shared();
  const thread = threadOnDemand<SampleThread>({
    start() {
      started++;
      return start(t, 'well', counts);
    },
    unanswered: (error, ask) => new Error(`${ask} has no answer`, { cause: error }),
  });
  t.is(started, 0);
  t.deepEqual(await Promise.all([thread.call.double(1), thread.call.later(2)]), [2, 4]);
  t.is(started, 1);
  const died = thread.call.end('exit');
  const again = died.catch(() => thread.call.double(5));
  t.true((await t.throwsAsync(died, { message: 'exit has no answer' })).cause instanceof ThreadEnded);
  t.is(await again, 10);
  t.is(started, 2);
  await thread.close();
  t.is(counts[1], 1);
  t.like((await t.throwsAsync(thread.call.double(1), { message: '1 has no answer' })).cause, {
    message: 'its thread is closed',
  });
  t.is(started, 2);
});

test('a thread keeps the process while it begins and while something is asked of it, and no longer', async (t) => {
  const program = fileURLToPath(new URL('./sample-process.js', import.meta.url));
  const run = promisify(execFile)(process.execPath, [program], { timeout: 60_000 });
  t.is((await run).stdout, '2\n');
});
