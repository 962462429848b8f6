import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { MemoirError, quote } from '../src/domain/errors.js';
import { type Position, start } from '../src/eventstore/port.js';
import { lockFile } from '../src/eventstore/sqlite/lock.js';
import { exclusionQueries } from './exclusions.js';
import { imageQueries } from './images.js';
import { jobQueries } from './jobs.js';
import { lineageQueries } from './lineage.js';
import { queueQueries } from './queue.js';
import { reuseQueries } from './reuse-index.js';
import type { ThreadMessage } from './thread-protocol.js';

/** The read model as the thread that answers calls sees it. */
export type ReadModel = {
  readonly jobs: ReturnType<typeof jobQueries>;
  readonly candidates: ReturnType<typeof reuseQueries>;
  readonly queue: ReturnType<typeof queueQueries>;
  readonly lineage: ReturnType<typeof lineageQueries>;
  readonly exclusions: ReturnType<typeof exclusionQueries>;
  readonly images: ReturnType<typeof imageQueries>;
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
  /** Calls `listener` after exclusions were ordered or lifted. */
  onExclusion(listener: () => void): void;
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
 * @throws StoreUnavailable if another server has the read model; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function openReadModel(storeUrl: string, readModelPath: string): Promise<ReadModel> {
  const unlock = lockFile(readModelPath, 'the read model', 'each server needs a data directory of its own');
  const thread = new Worker(new URL('./thread.js', import.meta.url), { workerData: { storeUrl, readModelPath } });

  let position: Position = start;
  let live = false;
  let failure: string | undefined;
  let closed: MemoirError | undefined;
  const waiters = new Set<Waiter>();
  const liveWaiters = new Set<Waiter>();
  const listeners = new Map<string, Set<() => void>>();
  const queueListeners = new Set<() => void>();
  const exclusionListeners: (() => void)[] = [];

  function applied(message: Extract<ThreadMessage, { kind: 'applied' }>): void {
    const nowLive = message.live && !live;
    position = message.position;
    live = message.live;
    failure = undefined;
    for (const waiter of [...waiters]) if (waiter.position <= position) waiter.resolve();
    if (live) for (const { resolve } of [...liveWaiters]) resolve();
    // What changed while the log's past was applied was told to nobody, so that everybody is told when that is over.
    const streams = nowLive ? [...listeners.keys()] : message.streams;
    const told = streams.flatMap((stream) => [...(listeners.get(stream) ?? [])]);
    if (nowLive || message.queued) told.push(...queueListeners);
    if (nowLive || message.excluded) told.push(...exclusionListeners);
    for (const listener of told) listener();
  }

  function abandon(error: MemoirError): void {
    closed ??= error;
    for (const { reject } of [...waiters, ...liveWaiters]) reject(closed);
  }

  function wait(those: Set<Waiter>, wanted: Position, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settled = () => {
        those.delete(waiter);
        signal?.removeEventListener('abort', aborted);
      };
      const waiter: Waiter = {
        position: wanted,
        resolve() {
          settled();
          resolve();
        },
        reject(error) {
          settled();
          reject(error);
        },
      };
      const aborted = () =>
        waiter.reject(unavailable(`the read model is at position ${position} and did not come to ${wanted} in time`));
      signal?.addEventListener('abort', aborted, { once: true });
      those.add(waiter);
      if (signal?.aborted) aborted();
    });
  }

  const exited = new Promise<void>((resolve) => {
    thread.once('exit', () => {
      unlock();
      abandon(unavailable('the read model has ended unexpectedly'));
      resolve();
    });
  });
  const opened = new Promise<Position>((resolve, reject) => {
    thread.on('message', (message: ThreadMessage) => {
      if (message.kind === 'opened') resolve(message.end);
      else if (message.kind === 'failed') failure = message.message;
      else applied(message);
    });
    thread.on('error', (error) => {
      failure = error.message;
      abandon(unavailable(`the read model ${quote(readModelPath)} has failed: ${error.message}`, error));
      reject(closed);
    });
    thread.once('exit', () => reject(closed));
  });
  const end = await opened;
  const db = new Database(readModelPath, { readonly: true });
  db.pragma('cache_size = -65536');

  return {
    jobs: jobQueries(db),
    candidates: reuseQueries(db),
    queue: queueQueries(db),
    lineage: lineageQueries(db),
    exclusions: exclusionQueries(db),
    images: imageQueries(db),
    position: () => position,
    progress: () => ({ live: live && !closed, position, end, failure }),
    waitFor(wanted, signal) {
      if (wanted <= position) return Promise.resolve();
      return closed ? Promise.reject(closed) : wait(waiters, wanted, signal);
    },
    caughtUp() {
      if (closed) return Promise.reject(closed);
      return live ? Promise.resolve() : wait(liveWaiters, start);
    },
    onChange(stream, listener) {
      const own = () => listener();
      const those = listeners.get(stream) ?? new Set();
      listeners.set(stream, those.add(own));
      return () => {
        those.delete(own);
        if (those.size === 0 && listeners.get(stream) === those) listeners.delete(stream);
      };
    },
    onQueued(listener) {
      const own = () => listener();
      queueListeners.add(own);
      return () => void queueListeners.delete(own);
    },
    onExclusion: (listener) => void exclusionListeners.push(listener),
    async close() {
      abandon(unavailable('the server is shutting down'));
      thread.postMessage('stop');
      await exited;
      db.close();
    },
  };
}

function unavailable(message: string, cause?: unknown): MemoirError {
  return new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}
