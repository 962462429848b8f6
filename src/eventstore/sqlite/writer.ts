import { Worker } from 'node:worker_threads';
import { messageOf, quote } from '../../domain/errors.js';
import { packError, unpackError } from '../../threads/sent-error.js';
import {
  type Appended,
  type ExpectedRevision,
  LogRefused,
  type NewEvent,
  StoreUnavailable,
  StoreUnreadable,
  storeErrors,
  WrongExpectedRevision,
} from '../port.js';
import {
  type AppendOutcome,
  type AppendRequest,
  type BatchRequest,
  packAppends,
  type WriterMessage,
} from './writer-protocol.js';

/** Most appends in one transaction, so that no caller waits for more than some milliseconds of others' work. */
const maxBatch = 1_000;

/** Characters of data after which a transaction takes no further append. */
const maxBatchCharacters = 8 * 1024 * 1024;

type Pending = AppendRequest & {
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: Error) => void;
};

/** Writes the log through a thread of its own; what is asked while a commit is under way shares the next one. */
export type Writer = {
  append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended>;
  /** Finishes what is pending and ends the thread. */
  close(): Promise<void>;
};

/** What the writer talks to: a worker thread, or what a test puts in its place. */
export type WriterThread = {
  on(event: 'message', listener: (message: WriterMessage) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  postMessage(message: BatchRequest | 'close'): void;
  terminate(): Promise<number>;
};

/**
 * Starts the writer of the log at `path`.
 * @throws StoreUnreadable if the file cannot be used; StoreUnavailable if the thread cannot be started
 */
export function startWriter(path: string, now: () => number): Promise<Writer> {
  const thread = new Worker(new URL('./writer-thread.js', import.meta.url), { workerData: { path } });
  return runWriter(thread, path, now);
}

/** The writer that sends its batches to `thread`, once that says that it is ready. */
export function runWriter(thread: WriterThread, path: string, now: () => number): Promise<Writer> {
  let waiting: Pending[] = [];
  let committing: Pending[] = [];
  let scheduled = false;
  let closed: StoreUnavailable | LogRefused | undefined;
  let idle: (() => void) | undefined;

  function schedule(): void {
    if (scheduled || committing.length > 0 || waiting.length === 0) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      committing = waiting.splice(0, batchLength(waiting));
      if (committing.length === 0) return;
      try {
        thread.postMessage({
          recordedAt: now(),
          appends: packAppends(committing),
        } satisfies BatchRequest);
      } catch (error) {
        settle({ kind: 'failed', error: packError(error) });
      }
    });
  }

  function settle(message: WriterMessage): void {
    const batch = committing;
    committing = [];
    if (message.kind === 'done') {
      for (const [i, pending] of batch.entries()) answer(pending, message.outcomes[i] as AppendOutcome);
    } else if (message.kind === 'failed') {
      const cause = unpackError(message.error, storeErrors);
      const why = `the event log ${quote(path)} cannot be written: ${cause.message}`;
      for (const pending of batch) pending.reject(new StoreUnavailable(why, cause));
    } else if (message.kind === 'replaced') {
      closed = new LogRefused('LOG_REPLACED', message.message);
      for (const pending of [...batch, ...waiting]) pending.reject(closed);
      waiting = [];
      thread.postMessage('close');
    }
    schedule();
    if (waiting.length === 0 && committing.length === 0) idle?.();
  }

  function abandon(cause?: unknown): void {
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    const ended = `the writer of the event log ${quote(path)} has ended unexpectedly${why}`;
    closed = new StoreUnavailable(`${ended}; the server must be started again`, cause);
    const unsure = new StoreUnavailable(`${ended}; the append at hand may or may not have been recorded`, cause);
    for (const pending of committing) pending.reject(unsure);
    for (const pending of waiting) pending.reject(closed);
    committing = [];
    waiting = [];
    idle?.();
  }

  const exited = new Promise<void>((resolve) => {
    thread.on('exit', () => {
      if (!closed || committing.length + waiting.length > 0) abandon();
      resolve();
    });
  });
  thread.on('error', abandon);

  const writer: Writer = {
    append(stream, expected, events) {
      if (closed) return Promise.reject(closed);
      return new Promise((resolve, reject) => {
        waiting.push({ stream, expected, events, resolve, reject });
        schedule();
      });
    },
    async close() {
      if (!closed) {
        closed = new StoreUnavailable(`the event log ${quote(path)} is closed`);
        if (waiting.length + committing.length > 0) {
          await new Promise<void>((resolve) => {
            idle = resolve;
          });
        }
        thread.postMessage('close');
      }
      await exited;
    },
  };

  return new Promise((resolve, reject) => {
    const failed = (cause?: unknown) => {
      if (cause instanceof StoreUnreadable) return reject(cause);
      const why = cause === undefined ? 'its writer ended at once' : messageOf(cause);
      reject(new StoreUnavailable(`the event log ${quote(path)} cannot be opened: ${why}`, cause));
    };
    thread.on('message', (message: WriterMessage) => {
      if (message.kind === 'ready') return resolve(writer);
      if (message.kind !== 'unopened') return settle(message);
      failed(unpackError(message.error, storeErrors));
      void thread.terminate();
    });
    thread.on('error', failed);
    thread.on('exit', () => failed());
  });
}

/** How many of the appends that wait go into the next transaction: at least one, if any waits. */
function batchLength(waiting: readonly Pending[]): number {
  let characters = 0;
  for (const [i, { events }] of waiting.entries()) {
    if (i === maxBatch || characters >= maxBatchCharacters) return i;
    for (const { data } of events) characters += data.length;
  }
  return waiting.length;
}

function answer(pending: Pending, outcome: AppendOutcome): void {
  if ('actual' in outcome) {
    pending.reject(new WrongExpectedRevision(pending.stream, pending.expected, outcome.actual));
  } else {
    pending.resolve(outcome);
  }
}
