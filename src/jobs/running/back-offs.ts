import type { BackOffRow } from '../../../projections/read-model/back-offs.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { Edge } from '../../edge.js';

/** Longest time between two looks at the clock while a job backs off, in milliseconds. */
const interval = 500;

/** Which jobs that are queued again back off here: each server counts for itself, from when it saw the end of the attempt. */
export type BackOffs = {
  /** Whether a job is given to nobody here, as far as is known. */
  holds(uuid: string): boolean;
  /** Revision of the end of the attempt behind which a job has waited long enough; undefined if it does not wait, or still waits. */
  waited(uuid: string): number | undefined;
  /** Calls `listener` with the jobs that may be given again. */
  onPassed(listener: (uuids: readonly string[]) => void): void;
  /** Ends the looks at the clock. */
  stop(): void;
};

/** A job that backs off, and whether its listeners were told that it does not any more. */
type Waiting = BackOffRow & { readonly since: number; passed: boolean };

/** The clock only goes forwards, so that what is over stays so. */
const isOver = ({ since, ms }: Waiting, now: number): boolean => now - since >= ms;

/**
 * Counts the back-offs of jobs by a clock that does not jump. A server that is started anew begins them anew, since it does not know how
 * long ago the attempts ended.
 */
export function watchBackOffs(
  { backOffs, onQueued }: Pick<ReadModel, 'backOffs' | 'onQueued'>,
  edge: Pick<Edge, 'monotonic'>,
): BackOffs {
  let waiting = new Map<string, Waiting>();
  const listeners: ((uuids: readonly string[]) => void)[] = [];
  let timer: NodeJS.Timeout | undefined;

  /** Takes over what the read model has. */
  function see(): void {
    const now = edge.monotonic();
    const next = new Map<string, Waiting>();
    for (const row of backOffs.all()) {
      const before = waiting.get(row.uuid);
      next.set(row.uuid, before?.revision === row.revision ? before : { ...row, since: now, passed: false });
    }
    waiting = next;
    schedule();
  }

  function look(): void {
    timer = undefined;
    const now = edge.monotonic();
    const over: string[] = [];
    for (const one of waiting.values()) {
      if (one.passed || !isOver(one, now)) continue;
      one.passed = true;
      over.push(one.uuid);
    }
    if (over.length > 0) for (const listener of listeners) listener(over);
    schedule();
  }

  function schedule(): void {
    clearTimeout(timer);
    const now = edge.monotonic();
    let left = Number.POSITIVE_INFINITY;
    for (const one of waiting.values()) if (!one.passed) left = Math.min(left, one.since + one.ms - now);
    timer = left === Number.POSITIVE_INFINITY ? undefined : setTimeout(look, Math.min(Math.max(left, 0), interval));
    timer?.unref();
  }

  const unsubscribe = onQueued(see);
  see();
  return {
    holds(uuid) {
      const one = waiting.get(uuid);
      return one !== undefined && !isOver(one, edge.monotonic());
    },
    waited(uuid) {
      const one = waiting.get(uuid);
      return one && isOver(one, edge.monotonic()) ? one.revision : undefined;
    },
    onPassed: (listener) => void listeners.push(listener),
    stop() {
      unsubscribe();
      clearTimeout(timer);
    },
  };
}
