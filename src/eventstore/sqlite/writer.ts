import { Worker } from 'node:worker_threads';
import {
  type Appended,
  type ExpectedRevision,
  type NewEvent,
  StoreUnavailable,
  StoreUnreadable,
  WrongExpectedRevision,
} from '../port.js';
import type { AppendOutcome, AppendRequest, WriterMessage } from './writer-protocol.js';

/** Most appends in one transaction, so that no caller waits for more than some milliseconds of others' work. */
const maxBatch = 1_000;

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

/**
 * Starts the writer of the log at `path`.
 * @throws StoreUnreadable if the file cannot be used
 */
export async function startWriter(path: string, now: () => number): Promise<Writer> {
  const thread = new Worker(new URL('./writer-thread.js', import.meta.url), { workerData: { path } });
  const exited = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  await ready(thread);

  let waiting: Pending[] = [];
  let committing: Pending[] = [];
  let scheduled = false;
  let closed: StoreUnavailable | undefined;
  let idle: (() => void) | undefined;

  function schedule(): void {
    if (scheduled || committing.length > 0 || waiting.length === 0) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      committing = waiting.splice(0, maxBatch);
      thread.postMessage({
        recordedAt: now(),
        appends: committing.map(({ stream, expected, events }) => ({ stream, expected, events })),
      });
    });
  }

  function settle(message: WriterMessage): void {
    const batch = committing;
    committing = [];
    if (message.kind === 'done') {
      for (const [i, pending] of batch.entries()) answer(pending, message.outcomes[i] as AppendOutcome);
    } else if (message.kind === 'failed') {
      const error = new StoreUnavailable(`the event log cannot be written: ${message.message}`);
      for (const pending of batch) pending.reject(error);
    }
    schedule();
    if (waiting.length === 0 && committing.length === 0 && !scheduled) idle?.();
  }

  function abandon(error: StoreUnavailable): void {
    closed = error;
    for (const pending of [...committing, ...waiting]) pending.reject(error);
    committing = [];
    waiting = [];
    idle?.();
  }

  thread.on('message', settle);
  thread.on('error', (error) => abandon(new StoreUnavailable('the writer of the event log has ended', error)));

  return {
    append(stream, expected, events) {
      if (closed) return Promise.reject(closed);
      return new Promise((resolve, reject) => {
        waiting.push({ stream, expected, events, resolve, reject });
        schedule();
      });
    },
    async close() {
      if (!closed) {
        closed = new StoreUnavailable('the event log is closed');
        if (waiting.length + committing.length > 0) await new Promise<void>((resolve) => (idle = resolve));
        thread.postMessage('close');
      }
      await exited;
    },
  };
}

function answer(pending: Pending, outcome: AppendOutcome): void {
  if ('actual' in outcome) {
    pending.reject(new WrongExpectedRevision(pending.stream, pending.expected, outcome.actual));
  } else {
    pending.resolve(outcome);
  }
}

function ready(thread: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', (message: WriterMessage) => {
      thread.off('error', reject);
      if (message.kind === 'ready') return resolve();
      void thread.terminate();
      reject(new StoreUnreadable(message.kind === 'unreadable' ? message.message : 'the event log cannot be opened'));
    });
  });
}
