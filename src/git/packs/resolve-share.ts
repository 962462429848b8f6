import { kinds } from '../objects/pack-entry.js';
import type { PackFile } from './pack-file.js';
import type { PackBudget } from './pack-limits.js';
import type { PackTable } from './pack-table.js';
import { type DeltaResolver, deltaResolver } from './resolve-deltas.js';
import type { Taker } from './scan-pack.js';

/** What the threads that resolve the deltas of a pack share beside its table. */
export type SharedWork = {
  readonly threads: number;
  /** What each has inflated and put together, in bytes. */
  readonly spent: Float64Array;
  /** The row that nobody has begun with; how many deltas are resolved; whether somebody gave up. */
  readonly counts: Int32Array;
};

const nextPlace = 0;
const stoppedPlace = 2;

/** Where the number of deltas that are resolved stands. */
export const resolvedPlace = 1;

/** Rows that a thread begins with at a time. */
const rowsAtOnce = 64;

/** Rows after which it is told how far it is. */
const toldEvery = 4_096;

/** Nothing is done yet. @param helpers - threads beside this one */
export function sharedWork(helpers: number): SharedWork {
  const threads = 1 + helpers;
  return {
    threads,
    spent: new Float64Array(new SharedArrayBuffer(threads * 8)),
    counts: new Int32Array(new SharedArrayBuffer(3 * 4)),
  };
}

/**
 * Resolves everything that is a delta of a whole object of a pack, but for what other threads do that share the work. Gives what resolves the
 * rest, once the others are done.
 * @throws Error as `DeltaResolver.from`; the others give up then, without an error of their own
 */
export function resolveShare(
  file: PackFile,
  table: PackTable,
  budget: PackBudget,
  taker: Pick<Taker, 'take'>,
  { threads, counts }: SharedWork,
  told: () => void = () => undefined,
): DeltaResolver {
  const resolver = deltaResolver(file, table, budget, taker, () => Atomics.add(counts, resolvedPlace, 1), threads);
  const { count } = table;
  try {
    for (let next = begin(); next < count; next = begin()) {
      const end = Math.min(count, next + rowsAtOnce);
      for (let row = next; row < end; row++) {
        if (kinds[table.kind[row] as number]) resolver.from(row);
        if (row % toldEvery === 0) told();
      }
      if (Atomics.load(counts, stoppedPlace) !== 0) break;
    }
  } catch (error) {
    Atomics.store(counts, stoppedPlace, 1);
    throw error;
  }
  return resolver;

  function begin(): number {
    return Atomics.add(counts, nextPlace, rowsAtOnce);
  }
}
