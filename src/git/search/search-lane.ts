import { setMaxListeners } from 'node:events';
import type { Asking } from '../port.js';

/** Searches that run at a time unless another number is given: each takes a part of the one thread that searches. */
const usual = 2;

type Waiting = { readonly begin: () => void };

/** Lets few searches run at a time, whoever asks for how many. */
export type SearchLane = {
  /**
   * Does the work when its turn comes: those who ask take turns, each with the first of its own.
   * @throws the signal's reason, if that aborts before the work has begun; what the work throws
   */
  run<T>(asking: Asking | undefined, work: (signal: AbortSignal | undefined) => Promise<T>): Promise<T>;
};

/** A lane in which nothing runs yet. */
export function searchLane(atOnce = usual): SearchLane {
  /** By who asks, in the order of their turns. */
  const waiting = new Map<string, Waiting[]>();
  let running = 0;

  function next(): void {
    if (running >= atOnce) return;
    const [turn] = waiting;
    if (!turn) return;
    const [who, [first, ...others]] = turn;
    waiting.delete(who);
    if (others.length > 0) waiting.set(who, others);
    running++;
    first?.begin();
  }

  function itsTurn(who: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const give = () => {
        const left = waiting.get(who)?.filter((other) => other !== one) ?? [];
        if (left.length > 0) waiting.set(who, left);
        else waiting.delete(who);
        reject(signal?.reason);
      };
      const one: Waiting = {
        begin() {
          signal?.removeEventListener('abort', give);
          resolve();
        },
      };
      signal?.addEventListener('abort', give, { once: true });
      waiting.set(who, [...(waiting.get(who) ?? []), one]);
      next();
    });
  }

  return {
    async run(asking, work) {
      const signal = asking?.signal?.();
      signal?.throwIfAborted();
      // One call may ask for very many at once.
      if (signal) setMaxListeners(0, signal);
      await itsTurn(asking?.principal ?? '', signal);
      try {
        return await work(signal);
      } finally {
        running--;
        next();
      }
    },
  };
}
