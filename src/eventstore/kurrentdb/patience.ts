import { setTimeout as delay } from 'node:timers/promises';
import { failureOf, isFinal, NoAnswer, unavailable } from './failure.js';
import type { Obstacle } from './obstacle.js';
import { defaultTimings, type KurrentOptions, type KurrentTimings } from './options.js';
import type { Reachability } from './reachability.js';
import { troubleOf } from './trouble.js';

/** Tries again what may work the next time. */
export type Patience = {
  readonly timings: KurrentTimings;
  /**
   * Looks whether a node can be used, within a second.
   * @throws StoreUnreachable or StoreUnavailable saying why none can; but if they only do not answer, that is told as trouble
   */
  greet(): Promise<void>;
  /**
   * The outcome of the first attempt that has one, within the patience.
   * @throws StoreUnavailable naming the node and `what` was to be done, or what an attempt threw that is of no use to repeat
   */
  persist<T>(what: string, attempt: () => Promise<T>): Promise<T>;
  /** Waits before attempt number `failed` + 1. Ends early when the store closes. */
  pause(failed: number, signal?: AbortSignal): Promise<void>;
  /** Tells whoever listens about a failure that is tried again. */
  trouble(what: string, error: unknown): void;
  /** Takes note that this went well, so that the next failure of it is told again. */
  well(what: string): void;
};

/** Patience with the nodes at `address`, until `closed`. */
export function patienceWith(
  address: string,
  options: KurrentOptions,
  reachability: Reachability,
  closed: AbortSignal,
): Patience {
  const { edge, onTrouble } = options;
  const timings = { ...defaultTimings, ...options.timings };
  const trouble = troubleOf(address, options, timings, reachability);
  // Whether a node was used once, and until then what kept them from it.
  let used = false;
  let obstacle: Obstacle | undefined;

  async function look(): Promise<void> {
    obstacle = await reachability.obstacle();
    used ||= obstacle === undefined;
    if (obstacle?.kind === 'refused' || (obstacle?.kind === 'away' && options.hasty))
      throw reachability.errorOf(obstacle);
  }

  // Exponential back-off with equal jitter (M. Brooker, "Exponential Backoff and Jitter").
  function pauseLength(failed: number): number {
    const longest = Math.min(timings.longestPause, timings.firstPause * 2 ** Math.min(failed, 30));
    return longest / 2 + (longest / 2) * fraction(edge.uuid());
  }

  async function pause(failed: number, signal?: AbortSignal): Promise<void> {
    const stop = signal ? AbortSignal.any([signal, closed]) : closed;
    await delay(pauseLength(failed), undefined, { signal: stop }).catch(() => undefined);
  }

  return {
    timings,
    pause,
    trouble: trouble.tell,
    well: trouble.well,
    async greet() {
      await look();
      if (obstacle?.kind === 'away') throw reachability.errorOf(obstacle);
      if (obstacle) onTrouble?.(reachability.errorOf(obstacle).message);
    },
    async persist(what, attempt) {
      const until = edge.monotonic() + timings.patience;
      if (!used) await look();
      for (let failed = 0; ; failed++) {
        try {
          const outcome = await attempt();
          used = true;
          trouble.well(what);
          return outcome;
        } catch (error) {
          // A node that was too slow to say why may say it now.
          if (!used && !isFinal(error) && !closed.aborted) await look();
          const final = isFinal(error) || failureOf(error) === 'refused';
          if (final || closed.aborted || edge.monotonic() >= until) {
            throw !final && !used && obstacle ? reachability.errorOf(obstacle) : unavailable(address, what, error);
          }
          trouble.tell(what, error);
          await pause(failed);
        }
      }
    },
  };
}

/** The outcome of `work`, or `NoAnswer` after so many milliseconds. */
export async function inTime<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(milliseconds)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The first 32 bits of a random UUID as a number from 0 to 1. */
function fraction(uuid: string): number {
  return Number.parseInt(uuid.slice(0, 8), 16) / 2 ** 32;
}
