import { LRUCache } from 'lru-cache';
import type { QueuedRow } from '../../../projections/read-model/queue.js';
import type { Edge } from '../../edge.js';

/** Longest time between two looks at the clock while a job waits for another worker, in milliseconds. */
const interval = 500;

/** Jobs kept in mind that wait for another worker than the one that lost them. */
const remembered = 10_000;

/** Which jobs wait for another worker than the one that lost them, or had no place for them. */
export type OtherWorkers = {
  /** Whether a worker may be given a job: another than lost it, or it has waited long enough, or nobody else could run it. */
  mayHave(place: QueuedRow, claimant: string): boolean;
  /** Calls `listener` with the jobs that have waited long enough, and whose worker was refused them before. */
  onPassed(listener: (uuids: readonly string[]) => void): void;
};

type Waiting = { readonly lostAt: number; readonly since: number; told: boolean };

/**
 * Keeps jobs for other workers for `waitMs`, counted by a clock that does not jump from when the worker that lost it would have been given it
 * first here. `anotherCould` tells whether another worker than the claimant was seen that could run the job.
 */
export function preferOthers(
  waitMs: number,
  edge: Pick<Edge, 'monotonic'>,
  anotherCould: (place: QueuedRow, claimant: string) => boolean,
): OtherWorkers {
  const waiting = new LRUCache<string, Waiting>({ maxSize: remembered, sizeCalculation: () => 1 });
  const listeners: ((uuids: readonly string[]) => void)[] = [];
  let timer: NodeJS.Timeout | undefined;

  const left = ({ since }: Waiting) => since + waitMs - edge.monotonic();

  function look(): void {
    timer = undefined;
    const over: string[] = [];
    let waits = false;
    for (const [uuid, one] of waiting.entries()) {
      if (!one.told && left(one) > 0) waits = true;
      else if (!one.told) {
        one.told = true;
        over.push(uuid);
      }
    }
    if (over.length > 0) for (const listener of listeners) listener(over);
    if (waits) schedule();
  }

  function schedule(): void {
    if (timer) return;
    timer = setTimeout(look, Math.min(interval, waitMs));
    timer.unref();
  }

  function isOver({ uuid, lostAt }: QueuedRow): boolean {
    let one = waiting.get(uuid);
    if (one?.lostAt !== lostAt) {
      one = { lostAt, since: edge.monotonic(), told: false };
      waiting.set(uuid, one);
      schedule();
    }
    return left(one) <= 0;
  }

  return {
    mayHave(place, claimant) {
      if (place.lostBy !== claimant || waitMs === 0) return true;
      return !anotherCould(place, claimant) || isOver(place);
    },
    onPassed: (listener) => void listeners.push(listener),
  };
}
