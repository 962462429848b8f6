import { Worker } from 'node:worker_threads';
import { messageOf } from '../../src/domain/errors.js';
import type { PastFiles } from '../history/as-of.js';
import type { ListAnswers, ListQuestion, ListReply, ListRequest, ListThreadData } from './list-protocol.js';
import { turnsByCaller } from './turns-by-caller.js';

/** How much longer than its limit a question may take before its thread is given up, in milliseconds. */
const grace = 2_000;

/** Thrown when a question took longer than it may. */
export class TookTooLong extends Error {}

/** Thrown when too many questions wait already. */
export class LaneFull extends Error {}

/** Thrown when nobody waits for the answer any more; the cause is the reason of the signal. */
export class Dropped extends Error {}

/** Thrown when a file cannot be read, or was made anew meanwhile. */
export class FileTrouble extends Error {}

/** A thread that answers questions one after the other. */
export type ListLane = {
  /**
   * Answers a question of a caller; callers have turns.
   * @throws TookTooLong, LaneFull, Dropped if the signal aborts; FileTrouble if what is read cannot be; Error if the
   * thread failed
   */
  ask<K extends ListQuestion['kind']>(
    question: Extract<ListQuestion, { kind: K }>,
    caller: string,
    signal?: AbortSignal,
  ): Promise<ListAnswers[K]>;
  /** Has the files opened again, which were made anew; what is being answered meets FileTrouble. */
  renew(): void;
  close(): Promise<void>;
};

/** How long a question may take, in milliseconds, and how many may wait in all, and of one caller. */
export type LaneLimits = { readonly time: number; readonly waiting: number; readonly waitingOfOne: number };

type Asked = {
  readonly id: number;
  readonly caller: string;
  readonly question: ListQuestion;
  readonly settle: (reply: ListReply) => void;
  readonly reject: (error: unknown) => void;
};

/** Opens a lane over the files of the projections. Its thread is started by the first question. */
export function openListLane(files: PastFiles, limits: LaneLimits): ListLane {
  const dropped = new SharedArrayBuffer(4);
  const waiting = turnsByCaller<Asked>();
  let lastId = 0;
  let current: Asked | undefined;
  let timer: NodeJS.Timeout | undefined;
  let thread: Worker | undefined;
  let closed: Error | undefined;

  function startThread(): Worker {
    const data: ListThreadData = { files, dropped };
    const started = new Worker(new URL('./list-thread.js', import.meta.url), { workerData: data });
    const gone = (why: string) => {
      if (thread !== started) return;
      thread = undefined;
      finish((asked) => asked.reject(new FileTrouble(`a thread for lists has ended: ${why}`)));
    };
    started.on('message', (reply: ListReply) => {
      if (thread === started && reply.id === current?.id) finish((asked) => asked.settle(reply));
    });
    started.on('error', (error) => gone(messageOf(error)));
    started.on('exit', (code) => gone(`exit ${code}`));
    return started;
  }

  function finish(how: (asked: Asked) => void): void {
    clearTimeout(timer);
    const asked = current;
    current = undefined;
    if (asked) how(asked);
    next();
  }

  function next(): void {
    if (current || closed) return;
    current = waiting.next();
    if (!current) return;
    thread ??= startThread();
    const { id, question } = current;
    const request: ListRequest = { id, question, limit: limits.time };
    timer = setTimeout(giveUp, limits.time + grace);
    timer.unref();
    thread.postMessage(request);
  }

  /** For what SQLite does without asking; the thread ends when that is over. */
  function giveUp(): void {
    void thread?.terminate();
    thread = undefined;
    finish((asked) => asked.reject(new TookTooLong('the time is up')));
  }

  function drop(asked: Asked, reason: unknown): void {
    const waited = waiting.remove(asked.caller, asked);
    if (!waited && current === asked) Atomics.store(new Int32Array(dropped), 0, asked.id);
    asked.reject(reason);
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
          settle(reply) {
            ended();
            if (reply.kind === 'answer') resolve(reply.answer as never);
            else reject(errorOf(reply));
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
      if (!thread) return;
      void thread.terminate();
      thread = undefined;
      finish((asked) => asked.reject(new FileTrouble('it was made anew meanwhile')));
    },
    async close() {
      closed = new Error('the lists are closed');
      for (const asked of waiting.clear()) asked.reject(closed);
      clearTimeout(timer);
      const last = thread;
      thread = undefined;
      if (current) {
        Atomics.store(new Int32Array(dropped), 0, current.id);
        current.reject(closed);
        current = undefined;
      }
      if (!last) return;
      const exited = new Promise<void>((resolve) => last.once('exit', () => resolve()));
      last.postMessage('stop');
      const late = setTimeout(() => void last.terminate(), grace);
      await exited;
      clearTimeout(late);
    },
  };
}

function errorOf(reply: Exclude<ListReply, { readonly kind: 'answer' }>): Error {
  if (reply.kind === 'overdue') return new TookTooLong(reply.why);
  return reply.ofFile ? new FileTrouble(reply.message) : new Error(reply.message);
}
