import { EventEmitter } from 'node:events';
import test from 'ava';
import { StoreUnavailable, StoreUnreadable } from '../../src/eventstore/port.js';
import { runWriter } from '../../src/eventstore/sqlite/writer.js';
import { type BatchRequest, packAppends, unpackAppends } from '../../src/eventstore/sqlite/writer-protocol.js';
import { packError } from '../../src/threads/sent-error.js';
import { newEvent, numbered } from '../contract/events.js';

/** A thread that does what the test says, to play what a real one does only when a disk or the memory fails. */
class PlayedThread extends EventEmitter {
  readonly batches: BatchRequest[] = [];
  refuse: Error | undefined;

  postMessage(message: BatchRequest | 'close'): void {
    if (this.refuse) throw this.refuse;
    if (message === 'close') this.emit('exit', 0);
    else {
      this.batches.push(message);
      this.emit('batch');
    }
  }

  async terminate(): Promise<number> {
    this.emit('exit', 1);
    return 1;
  }

  /** The next batch that is posted. */
  batch(): Promise<unknown> {
    return new Promise((resolve) => this.once('batch', resolve));
  }
}

function started() {
  const thread = new PlayedThread();
  const writer = runWriter(thread, '/log', () => 7);
  thread.emit('message', { kind: 'ready' });
  return { thread, writer };
}

for (const [how, end] of [
  ['by an error', (thread: PlayedThread) => thread.emit('error', new Error('out of memory')) && thread.emit('exit', 1)],
  ['without a word', (thread: PlayedThread) => thread.emit('exit', 1)],
] as const) {
  test(`a thread that ends ${how} fails what is pending and what is asked later`, async (t) => {
    const { thread, writer: starting } = started();
    const writer = await starting;
    const posted = thread.batch();
    const committing = writer.append('a', 'any', numbered(1));
    await posted;
    const waiting = writer.append('b', 'any', numbered(1));
    end(thread);
    const unsure = await t.throwsAsync(committing, { instanceOf: StoreUnavailable });
    t.regex(unsure.message, /"\/log".* may or may not have been recorded/);
    const never = await t.throwsAsync(waiting, { instanceOf: StoreUnavailable });
    t.regex(never.message, /must be started again/);
    await t.throwsAsync(writer.append('c', 'any', numbered(1)), { instanceOf: StoreUnavailable });
    await writer.close();
  });
}

test('a thread that ends while the writer closes leaves nothing pending', async (t) => {
  const { thread, writer: starting } = started();
  const writer = await starting;
  const posted = thread.batch();
  const append = writer.append('a', 'any', numbered(1));
  const closing = writer.close();
  await posted;
  thread.emit('exit', 1);
  await t.throwsAsync(append, { instanceOf: StoreUnavailable });
  await closing;
});

test('a batch that cannot be sent fails alone', async (t) => {
  const { thread, writer: starting } = started();
  const writer = await starting;
  thread.refuse = new Error('could not be cloned');
  const error = await t.throwsAsync(writer.append('a', 'any', numbered(1)), { instanceOf: StoreUnavailable });
  t.regex(error.message, /cannot be written: could not be cloned/);
  t.is((error.cause as Error).message, 'could not be cloned');
  thread.refuse = undefined;
  const posted = thread.batch();
  const append = writer.append('a', 'any', numbered(1));
  await posted;
  thread.emit('message', { kind: 'done', outcomes: [{ revision: 0, position: 1 }] });
  t.deepEqual(await append, { revision: 0, position: 1 });
  await writer.close();
});

test('a batch that cannot be written fails with what the store said, of the class that it was', async (t) => {
  const { thread, writer: starting } = started();
  const writer = await starting;
  const posted = thread.batch();
  const append = writer.append('a', 'any', numbered(1));
  await posted;
  class SqliteError extends RangeError {
    readonly code = 'SQLITE_FULL';
  }
  thread.emit('message', { kind: 'failed', error: packError(new SqliteError('database or disk is full')) });
  const { message, cause } = await t.throwsAsync(append, { instanceOf: StoreUnavailable });
  t.regex(message, /"\/log" cannot be written: database or disk is full/);
  t.true(cause instanceof RangeError);
  t.like(cause as Error, { code: 'SQLITE_FULL' });
  await writer.close();
});

test('what is asked while a commit is under way shares the next one, up to a limit', async (t) => {
  const { thread, writer: starting } = started();
  const writer = await starting;
  let posted = thread.batch();
  const asked = [writer.append('a', 'any', numbered(1))];
  await posted;
  for (let i = 0; i < 1_001; i++) asked.push(writer.append('a', 'any', numbered(1)));
  const big = 'x'.repeat(3 * 1024 * 1024);
  for (let i = 0; i < 4; i++) asked.push(writer.append('a', 'any', [newEvent(big)]));
  for (const size of [1, 1_000, 4, 1]) {
    const { appends: packed, recordedAt } = thread.batches.at(-1) as BatchRequest;
    const appends = unpackAppends(packed);
    t.is(appends.length, size);
    t.is(recordedAt, 7);
    posted = thread.batch();
    thread.emit('message', { kind: 'done', outcomes: appends.map(() => ({ revision: 0, position: 1 })) });
    if (size !== 1 || thread.batches.length === 1) await posted;
  }
  await Promise.all(asked);
  await writer.close();
});

test('a thread that does not start is a clear error', async (t) => {
  for (const [end, expected, message] of [
    [
      (thread: PlayedThread) => thread.emit('error', new Error('EACCES')),
      StoreUnavailable,
      /"\/log" cannot be opened: EACCES/,
    ],
    [(thread: PlayedThread) => thread.emit('exit', 1), StoreUnavailable, /"\/log" cannot be opened: its writer ended/],
    [
      (thread: PlayedThread) =>
        thread.emit('message', { kind: 'unopened', error: packError(new StoreUnreadable('newer')) }),
      StoreUnreadable,
      /newer/,
    ],
  ] as const) {
    const thread = new PlayedThread();
    const starting = runWriter(thread, '/log', () => 0);
    end(thread);
    t.regex((await t.throwsAsync(starting, { instanceOf: expected })).message, message);
  }
});

test('appends are unpacked as they were packed', (t) => {
  const appends = [
    { stream: 'a', expected: 'any' as const, events: numbered(3) },
    { stream: 'b', expected: 'no_stream' as const, events: numbered(1) },
    { stream: 'c', expected: 7, events: numbered(2) },
  ];
  t.deepEqual(unpackAppends(packAppends(appends)), appends);
  t.deepEqual(unpackAppends(packAppends([])), []);
});
