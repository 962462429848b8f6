import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { MemoirError } from '../src/domain/errors.js';
import type { Position } from '../src/eventstore/port.js';
import { lockFile } from '../src/eventstore/sqlite/lock.js';
import { jobQueries } from './jobs.js';
import { queueQueries } from './queue.js';
import { reuseQueries } from './reuse-index.js';
import type { ThreadMessage } from './thread-protocol.js';

/** The read model as the thread that answers calls sees it. */
export type ReadModel = {
  readonly jobs: ReturnType<typeof jobQueries>;
  readonly candidates: ReturnType<typeof reuseQueries>;
  readonly queue: ReturnType<typeof queueQueries>;
  /** Everything in the log up to here can be read. */
  position(): Position;
  /** How far the rebuild or catch-up is. */
  progress(): Progress;
  /**
   * Resolves when everything up to `position` can be read.
   * @throws MemoirError UNAVAILABLE if the read model fails or closes first, or if the signal aborts
   */
  waitFor(position: Position, signal?: AbortSignal): Promise<void>;
  /** Resolves when the read model has caught up with the log for the first time. */
  caughtUp(): Promise<void>;
  /** Calls `listener` after a change of the stream can be read, until the returned function is called. */
  onChange(stream: string, listener: () => void): () => void;
  /** Calls `listener` after jobs were queued, until the returned function is called. */
  onQueued(listener: () => void): () => void;
  close(): Promise<void>;
};

/** How far the read model has come on its way to the end of the log. */
export type Progress = {
  readonly live: boolean;
  readonly position: Position;
  /** End of the log when the server started. */
  readonly end: Position;
  /** Why the last attempt failed, while it has not been made good. */
  readonly failure: string | undefined;
};

type Waiter = { readonly position: Position; readonly resolve: () => void; readonly reject: (error: Error) => void };

/**
 * Starts the thread that keeps the read model at `readModelPath` of the store at `storeUrl`, and opens it for reading.
 * @throws StoreUnavailable if another server has the read model, or the store cannot be reached
 */
export async function openReadModel(storeUrl: string, readModelPath: string): Promise<ReadModel> {
  const unlock = lockFile(readModelPath, 'the read model', 'each server needs a data directory of its own');
  const thread = new Worker(new URL('./thread.js', import.meta.url), { workerData: { storeUrl, readModelPath } });
  const exited = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  const end = await opened(thread).catch((error: unknown) => {
    unlock();
    throw error;
  });
  const db = new Database(readModelPath, { readonly: true });
  db.pragma('cache_size = -65536');

  let position: Position = 0;
  let live = false;
  let failure: string | undefined;
  let closed: MemoirError | undefined;
  let waiters: Waiter[] = [];
  const liveWaiters: Waiter[] = [];
  const listeners = new Map<string, Set<() => void>>();
  const queueListeners = new Set<() => void>();

  function settle(): void {
    const due = waiters.filter((waiter) => waiter.position <= position);
    if (due.length > 0) {
      waiters = waiters.filter((waiter) => waiter.position > position);
      for (const { resolve } of due) resolve();
    }
    if (!live) return;
    for (const { resolve } of liveWaiters.splice(0)) resolve();
  }

  function abandon(error: MemoirError): void {
    closed ??= error;
    for (const { reject } of [...waiters.splice(0), ...liveWaiters.splice(0)]) reject(closed);
  }

  thread.on('message', (message: ThreadMessage) => {
    if (message.kind === 'failed') failure = message.message;
    if (message.kind !== 'applied') return;
    position = message.position;
    live = message.live;
    failure = undefined;
    settle();
    for (const stream of message.streams) for (const listener of listeners.get(stream) ?? []) listener();
    if (message.queued) for (const listener of [...queueListeners]) listener();
  });
  thread.on('error', (error) => {
    failure = error.message;
    abandon(unavailable(`the read model has failed: ${error.message}`, error));
  });

  return {
    jobs: jobQueries(db),
    candidates: reuseQueries(db),
    queue: queueQueries(db),
    position: () => position,
    progress: () => ({ live: live && !closed, position, end, failure }),
    waitFor(wanted, signal) {
      if (wanted <= position) return Promise.resolve();
      if (closed) return Promise.reject(closed);
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          position: wanted,
          resolve() {
            signal?.removeEventListener('abort', aborted);
            resolve();
          },
          reject,
        };
        const aborted = () => {
          waiters = waiters.filter((other) => other !== waiter);
          reject(unavailable(`the read model is at position ${position} and did not come to ${wanted} in time`));
        };
        signal?.addEventListener('abort', aborted, { once: true });
        waiters.push(waiter);
        if (signal?.aborted) aborted();
      });
    },
    caughtUp() {
      if (live) return Promise.resolve();
      if (closed) return Promise.reject(closed);
      return new Promise((resolve, reject) => liveWaiters.push({ position: 0, resolve, reject }));
    },
    onChange(stream, listener) {
      const those = listeners.get(stream) ?? new Set();
      listeners.set(stream, those.add(listener));
      return () => {
        those.delete(listener);
        if (those.size === 0 && listeners.get(stream) === those) listeners.delete(stream);
      };
    },
    onQueued(listener) {
      queueListeners.add(listener);
      return () => void queueListeners.delete(listener);
    },
    async close() {
      abandon(unavailable('the server is shutting down'));
      thread.postMessage('stop');
      await exited;
      db.close();
      unlock();
    },
  };
}

function unavailable(message: string, cause?: unknown): MemoirError {
  return new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}

function opened(thread: Worker): Promise<Position> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.on('message', function heard(message: ThreadMessage) {
      if (message.kind !== 'opened') return;
      thread.off('error', reject);
      thread.off('message', heard);
      resolve(message.end);
    });
  });
}
