import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { MemoirError } from '../../src/domain/errors.js';
import { LogRefused, StoreUnreadable, WrongExpectedRevision } from '../../src/eventstore/port.js';
import type { Call } from '../../src/threads/methods.js';
import { serveThread } from '../../src/threads/serve-thread.js';

// A thread with a method for everything that a thread may do, for the tests of the channel.

/** How it is to begin. */
export type SampleData = {
  readonly begin: 'well' | 'late' | 'unreadable' | 'by nobody’s catch';
  /** Where it counts what it did: calls that were broken off, and its orderly end. */
  readonly counts: Int32Array;
};

/** An error that cannot be cloned, of a class that the caller does not know, with a circle of causes. */
class Unsendable extends Error {
  readonly code = 'ODD';
  readonly fine = { a: 1 };
  readonly unsendable = { act: () => undefined };
  constructor() {
    super('odd');
    this.name = 'Unsendable';
    this.cause = this;
  }
}

/** As better-sqlite3 makes its errors, which Node takes for none. */
function oldStyle(): Error {
  const error = Object.create(Object.create(Error.prototype, { name: { value: 'OldError' } }));
  return Object.assign(error, { message: 'disk I/O error', code: 'SQLITE_IOERR' });
}

const failures = {
  memoir: () =>
    new MemoirError('DATA_LOSS', 'REPOSITORY_DAMAGED', 'repository "a" is damaged', {
      field: 'repository',
      metadata: { repository: 'a' },
      cause: new RangeError('too far', { cause: oldStyle() }),
    }),
  store: () => new WrongExpectedRevision('job-1', 'no_stream', 4),
  refused: () => new LogRefused('NEWER_LOG', 'it is newer'),
  unsendable: () => new Unsendable(),
  old: oldStyle,
  text: () => 'only a text',
  nothing: () => undefined,
} as const;

async function open({ begin, counts }: SampleData) {
  if (begin === 'unreadable') throw new StoreUnreadable('no log');
  if (begin === 'by nobody’s catch') await new Promise(() => void setImmediate(() => Promise.reject(oldStyle())));
  if (begin === 'late') await delay(20);
  return {
    double: (n: number) => n * 2,
    later: async (n: number) => {
      await delay(1);
      return n * 2;
    },
    fail(how: keyof typeof failures) {
      throw failures[how]();
    },
    async failLater(how: keyof typeof failures) {
      await delay(1);
      throw failures[how]();
    },
    count(to: number, { tell }: Call<number>) {
      for (let i = 1; i <= to; i++) tell(i);
      return 'done';
    },
    async untilAborted(how: 'reason' | 'node' | 'own error' | 'answer', { signal }: Call) {
      if (how === 'node') await delay(60_000, undefined, { signal });
      if (!signal.aborted) await once(signal, 'abort');
      Atomics.add(counts, 0, 1);
      if (how === 'own error') throw new MemoirError('INTERNAL', 'CLEANING', 'cannot clean up');
      if (how === 'reason') signal.throwIfAborted();
      return 'answered all the same';
    },
    /** Gives the memory back, doubled in place. */
    move(memory: Uint8Array, { handOver }: Call) {
      for (let i = 0; i < memory.length; i++) memory[i] = (memory[i] as number) * 2;
      handOver(memory.buffer as ArrayBuffer);
      return { memory, length: memory.buffer.byteLength };
    },
    unsendable: () => () => undefined,
    end(how: 'exit' | 'throw' | 'reject' | 'throw nothing') {
      if (how === 'exit') process.exit(3);
      if (how === 'reject') void Promise.reject(failures.memoir());
      else
        setImmediate(() => {
          throw how === 'throw' ? failures.old() : undefined;
        });
      return new Promise<never>(() => undefined);
    },
    spin() {
      for (;;) Atomics.add(counts, 0, 1);
    },
    async close() {
      await delay(1);
      Atomics.store(counts, 1, 1);
    },
  };
}

export type SampleThread = typeof open;

serveThread(open);
