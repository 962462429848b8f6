import { MemoirError, messageOf, quote } from '../../src/domain/errors.js';
import { LogRefused, type Position, start, storeErrors } from '../../src/eventstore/port.js';
import { lockFile } from '../../src/eventstore/sqlite/lock.js';
import { startThread, ThreadEnded } from '../../src/threads/thread.js';
import type { PassedOver } from './runner.js';
import type { BatchApplied, FollowTold, Kept, ProjectionThread } from './thread.js';

/** How far projections have come on their way to the end of the log. */
export type Progress = {
  readonly live: boolean;
  readonly position: Position;
  /** End of the log when the server started. */
  readonly end: Position;
  /** Why the last attempt failed, while it has not been made good. */
  readonly failure: string | undefined;
  /** Why the log cannot be followed, once that has lasted for seconds. */
  readonly trouble: string | undefined;
};

/** How long a failure lasts until it is trouble, in milliseconds. */
const failureIsTrouble = 3_000;

/** How often the end of the log may be told, which happens every second, while a thread that is not there yet stays where it is. */
const silenceIsTrouble = 10;

/** A thread that keeps projections up to date in a file of their own. */
export type Follower = {
  /** What messages call it, such as "the read model". */
  readonly name: string;
  /** The reason of errors of it: READ_MODEL_UNAVAILABLE or HISTORY_UNAVAILABLE. */
  readonly reason: string;
  /** Everything in the log up to here can be read. */
  position(): Position;
  /** How far the rebuild or catch-up is. */
  progress(): Progress;
  /**
   * Resolves when everything up to `position` can be read.
   * @throws MemoirError UNAVAILABLE if the thread fails or closes first, or if the signal aborts
   */
  waitFor(position: Position, signal?: AbortSignal): Promise<void>;
  /** Calls `listener` when the thread found that the log is one that the process must not go on with; at once if it has. */
  onRefused(listener: (error: LogRefused) => void): void;
  /**
   * Calls `listener` with how many events were passed over since the thread was started, and the first of those that came last; at once
   * with what there were.
   */
  onPassedOver(listener: (count: number, first: readonly PassedOver[]) => void): void;
  /** Calls `listener` whenever the thread's connection to the store broke. */
  onBroken(listener: () => void): void;
  /** Resolves when the thread has caught up with the log for the first time. */
  caughtUp(): Promise<void>;
  /** Takes note of the end of the log as it is now: a thread that does not come there is in trouble. */
  expect(position: Position): void;
  /** Why the file was made anew when it was opened; undefined if it was not. */
  readonly remadeAtOpening: string | undefined;
  /** Calls `listener` whenever the file was made anew later: what is open of the old one, or was kept of it, is of no use. */
  onRemade(listener: (why: string) => void): void;
  /** Tells the thread that a reader met damage in the file, so that it is made anew. */
  damaged(why: string): void;
  /** Ends the thread, and what waits for it. */
  close(): Promise<void>;
};

type Waiter = { readonly position: Position; readonly resolve: () => void; readonly reject: (error: Error) => void };

/**
 * Starts the thread that keeps a set of projections. `name` is what messages call them, such as "the read model"; `onApplied` is
 * told of every batch, and whether it is the first that ends at the end of the log since the file was made.
 * @throws StoreUnavailable if another server has the file; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function startFollower(
  data: Kept,
  name: string,
  onApplied: (applied: BatchApplied, nowLive: boolean) => void = () => undefined,
): Promise<Follower> {
  const unlock = lockFile(data.path, name, 'each server needs a data directory of its own');
  const file = new URL('./thread.js', import.meta.url);
  const thread = startThread<ProjectionThread>(file, data, { name, errors: storeErrors });

  const reason = data.keeps === 'history' ? 'HISTORY_UNAVAILABLE' : 'READ_MODEL_UNAVAILABLE';
  let position: Position = start;
  let live = false;
  let failure: { readonly message: string; readonly since: number } | undefined;
  let expected: Position = start;
  /** How often more was expected since the thread moved last: counted, so that a process that was stopped or starved blames nobody. */
  let silent = 0;
  const remadeListeners: ((why: string) => void)[] = [];
  let remadeAtOpening: string | undefined;
  let closed: MemoirError | undefined;
  let refusal: LogRefused | undefined;
  const brokenListeners: (() => void)[] = [];
  /** Why the log seems not to be what it was. */
  let doubt: string | undefined;
  let passedOver = 0;
  let passedOverFirst: readonly PassedOver[] = [];
  const passedOverListeners: ((count: number, first: readonly PassedOver[]) => void)[] = [];
  const refusalListeners: ((error: LogRefused) => void)[] = [];
  const waiters = new Set<Waiter>();
  const liveWaiters = new Set<Waiter>();
  let hurrying = false;

  function trouble(): string | undefined {
    const now = performance.now();
    if (closed) return closed.message;
    if (doubt !== undefined) return doubt;
    if (failure && now - failure.since >= failureIsTrouble) return failure.message;
    const behind = live && silent >= silenceIsTrouble;
    return behind ? `it stays at position ${position}, and the log goes on to ${expected}` : undefined;
  }

  function remade(why: string): void {
    position = start;
    live = false;
    silent = 0;
    if (remadeListeners.length === 0) remadeAtOpening = why;
    for (const listener of remadeListeners) listener(why);
  }

  function applied(message: BatchApplied): void {
    const nowLive = message.live && !live;
    position = message.position;
    silent = 0;
    live = message.live;
    failure = undefined;
    doubt = undefined;
    for (const waiter of waiters) if (waiter.position <= position) waiter.resolve();
    if (live) for (const { resolve } of [...liveWaiters]) resolve();
    hurrying = false;
    hurry();
    onApplied(message, nowLive);
  }

  /** Tells the thread that somebody waits, once for each batch. */
  function hurry(): void {
    if (hurrying || waiters.size === 0 || closed) return;
    hurrying = true;
    thread.call.hurry(undefined).catch(() => undefined);
  }

  function notePassedOver(count: number, first: readonly PassedOver[]): void {
    passedOver += count;
    if (passedOverListeners.length === 0) passedOverFirst = [...passedOverFirst, ...first].slice(0, 100);
    for (const listener of passedOverListeners) listener(passedOver, first);
  }

  function refused(error: LogRefused): void {
    refusal = error;
    failure = { message: error.message, since: performance.now() };
    abandon(new MemoirError('UNAVAILABLE', error.reason, error.message, { cause: error }));
    for (const listener of refusalListeners) listener(error);
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
        waiter.reject(unavailable(`${name} is at position ${position} and did not come to ${wanted} in time`));
      signal?.addEventListener('abort', aborted, { once: true });
      those.add(waiter);
      hurry();
      if (signal?.aborted) aborted();
    });
  }

  /** The thread follows the log no more. */
  function failed(error: unknown): void {
    if (error instanceof LogRefused) {
      refused(error);
      return;
    }
    const what =
      error instanceof ThreadEnded ? error.message : `${name} ${quote(data.path)} has failed: ${messageOf(error)}`;
    abandon(unavailable(what, error));
    void thread.close();
  }

  void thread.ended.then(unlock);
  const opened = new Promise<Position>((resolve, reject) => {
    const onTold = (told: FollowTold) => {
      if (told.kind === 'opened') resolve(told.end);
      else if (told.kind === 'failed') failure = { message: told.message, since: failure?.since ?? performance.now() };
      else if (told.kind === 'passed over') notePassedOver(told.count, told.first);
      else if (told.kind === 'broken') for (const listener of brokenListeners) listener();
      else if (told.kind === 'doubted') doubt = told.why;
      else if (told.kind === 'unsound') live = false;
      else if (told.kind === 'remade') remade(told.why);
      else applied(told);
    };
    thread.call.follow(undefined, { onTold }).catch((error: unknown) => {
      failed(error);
      reject(closed);
    });
  });
  const end = await opened.catch(async (error: unknown) => {
    await thread.close();
    throw error;
  });

  return {
    name,
    reason,
    position: () => position,
    progress: () => ({ live: live && !closed, position, end, failure: failure?.message, trouble: trouble() }),
    expect(wanted) {
      expected = Math.max(expected, wanted);
      silent = expected > position ? silent + 1 : 0;
      // Whatever failed, nothing is missed.
      if (live && wanted <= position) failure = undefined;
    },
    remadeAtOpening,
    onRemade: (listener) => void remadeListeners.push(listener),
    // A thread that has ended makes nothing anew.
    damaged: (why) => void thread.call.damaged(why).catch(() => undefined),
    waitFor(wanted, signal) {
      if (wanted <= position) return Promise.resolve();
      return closed ? Promise.reject(closed) : wait(waiters, wanted, signal);
    },
    onRefused(listener) {
      refusalListeners.push(listener);
      if (refusal) listener(refusal);
    },
    onBroken: (listener) => void brokenListeners.push(listener),
    onPassedOver(listener) {
      passedOverListeners.push(listener);
      if (passedOver > 0) listener(passedOver, passedOverFirst);
    },
    caughtUp() {
      if (closed) return Promise.reject(closed);
      return live ? Promise.resolve() : wait(liveWaiters, start);
    },
    async close() {
      abandon(unavailable('the server is shutting down'));
      await thread.close();
    },
  };
}

function unavailable(message: string, cause?: unknown): MemoirError {
  return new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}
