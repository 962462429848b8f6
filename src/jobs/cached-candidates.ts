import { LRUCache } from 'lru-cache';
import type { CandidateFacts } from '../domain/reuse.js';
import type { JobsContext } from './context.js';

/** How many candidates are kept. */
const kept = 100_000;

/**
 * The candidates of a computation as the reuse index has them. Where nobody else writes the store they are kept until this
 * process changes one of them: a computation that is asked for again and again is then answered from memory.
 */
export function cachedCandidates({
  store,
  readModel,
  written,
}: JobsContext): (computationDigest: string) => readonly CandidateFacts[] {
  const read = readModel.candidates.candidates;
  if (!store.exclusive) return read;
  const cache = new LRUCache<string, readonly CandidateFacts[]>({
    maxSize: kept,
    sizeCalculation: ({ length }) => length + 1,
  });
  written.onNote((key) => void cache.delete(key));
  return (computationDigest) => {
    const known = cache.get(computationDigest);
    if (known) return known;
    const candidates = read(computationDigest);
    // A write that the index does not have yet would be missed until the next one.
    if (!written.pending(computationDigest)) cache.set(computationDigest, candidates);
    return candidates;
  };
}
