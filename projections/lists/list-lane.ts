import type { Calls } from '../../src/threads/methods.js';
import { startThread, type Thread, ThreadEnded } from '../../src/threads/thread.js';
import type { PastFiles } from '../history/as-of.js';
import { Dropped, FileTrouble, LaneFull, Overdue } from './list-failures.js';
import type { ListThread, ListThreadData } from './list-thread.js';
import { turnsByCaller } from './turns-by-caller.js';

/** How much longer than its limit a question may take before its thread is given up, in milliseconds. */
const grace = 2_000;

/** Asks the thread a question when its turn has come, which has a number and a limit of time. */
export type Question<Answer> = (
  call: Calls<ListThread>,
  turn: { readonly id: number; readonly limit: number },
) => Promise<Answer>;

/** A thread that answers questions one after the other. */
export type ListLane = {
  /**
   * Answers a question of a caller; callers have turns.
   * @throws Overdue, LaneFull, Dropped if the signal aborts; FileTrouble if what is read cannot be, or the thread ended; what else the
   * thread throws, as what it was
   */
  ask<Answer>(question: Question<Answer>, caller: string, signal?: AbortSignal): Promise<Answer>;
  /** Has the files opened again, which were made anew; what is being answered meets FileTrouble. */
  renew(): void;
  close(): Promise<void>;
};

/** How long a question may take, in milliseconds, and how many may wait in all, and of one caller. */
export type LaneLimits = { readonly time: number; readonly waiting: number; readonly waitingOfOne: number };

type Asked = {
  readonly id: number;
  readonly caller: string;
  readonly question: Question<unknown>;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
};

/** Opens a lane over the files of the projections. Its thread is started by the first question. */
export function openListLane(files: PastFiles, limits: LaneLimits): ListLane {
  const dropped = new SharedArrayBuffer(4);
  const waiting = turnsByCaller<Asked>();
  let lastId = 0;
  let current: Asked | undefined;
  let timer: NodeJS.Timeout | undefined;
  let thread: Thread<ListThread> | undefined;
  let closed: Error | undefined;

  function living(): Thread<ListThread> {
    if (!thread?.alive()) {
      const file = new URL('./list-thread.js', import.meta.url);
      const data: ListThreadData = { files, dropped };
      thread = startThread(file, data, { name: 'a thread for lists', errors: [Overdue, FileTrouble] });
    }
    return thread as Thread<ListThread>;
  }

  /** The question whose turn it is has an outcome; of one that was given up before, it is of no use. */
  function finish(asked: Asked | undefined, how: (asked: Asked) => void): void {
    if (!asked || asked !== current) return;
    clearTimeout(timer);
    current = undefined;
    how(asked);
    next();
  }

  function next(): void {
    if (current || closed) return;
    const asked = waiting.next();
    if (!asked) return;
    current = asked;
    timer = setTimeout(giveUp, limits.time + grace);
    timer.unref();
    asked.question(living().call, { id: asked.id, limit: limits.time }).then(
      (answer) => finish(asked, ({ resolve }) => resolve(answer)),
      (error: unknown) => finish(asked, ({ reject }) => reject(endOfThread(error))),
    );
  }

  /** For what SQLite does without asking; the thread ends when that is over. */
  function giveUp(): void {
    void thread?.terminate();
    finish(current, ({ reject }) => reject(new Overdue('the time is up')));
  }

  function dropCurrent(reason: unknown): void {
    if (!current) return;
    Atomics.store(new Int32Array(dropped), 0, current.id);
    current.reject(reason);
  }

  function drop(asked: Asked, reason: unknown): void {
    if (waiting.remove(asked.caller, asked)) asked.reject(reason);
    else if (current === asked) dropCurrent(reason);
  }

  const dropFor = (signal: AbortSignal | undefined) => new Dropped('the call has ended', { cause: signal?.reason });

  return {
    ask: (question, caller, signal) =>
      new Promise((resolve, reject) => {
        if (closed) return reject(closed);
        if (signal?.aborted) return reject(dropFor(signal));
        if (waiting.size >= limits.waiting) return reject(new LaneFull(`${waiting.size} wait already`));
        const own = waiting.sizeOf(caller);
        if (own >= limits.waitingOfOne) return reject(new LaneFull(`${own} of the same caller wait already`));
        const aborted = () => drop(asked, dropFor(signal));
        const ended = () => signal?.removeEventListener('abort', aborted);
        const asked: Asked = {
          id: ++lastId,
          caller,
          question,
          resolve(answer) {
            ended();
            resolve(answer as never);
          },
          reject(error) {
            ended();
            reject(error);
          },
        };
        signal?.addEventListener('abort', aborted, { once: true });
        waiting.add(caller, asked);
        next();
      }),
    renew() {
      void thread?.terminate();
      finish(current, ({ reject }) => reject(new FileTrouble('it was made anew meanwhile')));
    },
    async close() {
      closed = new Error('the lists are closed');
      for (const asked of waiting.clear()) asked.reject(closed);
      clearTimeout(timer);
      dropCurrent(closed);
      current = undefined;
      if (!thread?.alive()) return;
      const late = setTimeout(() => void thread?.terminate(), grace);
      await thread.close();
      clearTimeout(late);
    },
  };
}

/** A thread that has ended, of whatever, is started again by the next question. */
function endOfThread(error: unknown): unknown {
  return error instanceof ThreadEnded ? new FileTrouble(error.message, { cause: error }) : error;
}
