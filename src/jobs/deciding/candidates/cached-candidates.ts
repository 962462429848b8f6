import { LRUCache } from 'lru-cache';
import type { DecidingContext } from '../../context.js';
import { contentKey } from '../../own-writes.js';
import { followedCandidates, type Runs } from './followed-candidates.js';

/** How many candidates are kept. */
const kept = 100_000;

/**
 * The jobs of a computation as the reuse index has them. Where nobody else writes the store they are kept until this process
 * changes one of them: a computation that is asked for again and again is then answered from memory. Elsewhere they are until the read model tells of a
 * change, by whomever; where it tells nothing they are read.
 */
export function cachedCandidates({
  store,
  readModel,
  written,
}: Pick<DecidingContext, 'store' | 'readModel' | 'written'>): (computationDigest: string) => Runs {
  const read = (computationDigest: string): Runs => readModel.candidates.runs(computationDigest);
  const { position, onTouched } = readModel;
  if (!store.exclusive) {
    return position && onTouched ? followedCandidates({ ...readModel, position, onTouched }) : read;
  }
  const cache = new LRUCache<string, Runs>({
    maxSize: kept,
    sizeCalculation: ({ candidates }) => candidates.length + 1,
  });
  written.onNote((key) => void (key === contentKey ? cache.clear() : cache.delete(key)));
  written.onRemade(() => cache.clear());
  return (computationDigest) => {
    const known = cache.get(computationDigest);
    // Nothing that was noted since was of this computation.
    if (known) {
      const { candidates, lastRun, position } = known;
      return { candidates, lastRun, position: Math.max(position, written.noted()) };
    }
    const runs = read(computationDigest);
    // A write that the index does not have yet would be missed until the next one.
    if (!written.pending(computationDigest) && !written.pending(contentKey)) cache.set(computationDigest, runs);
    return runs;
  };
}
