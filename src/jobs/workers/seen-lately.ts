import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { WorkerRow } from '../../../projections/read-model/workers.js';
import type { Edge } from '../../edge.js';

/** How long ago a worker was seen that counts, in milliseconds: three times as long as it takes at most until it is recorded again. */
export const seenWithin = 15 * 60_000;

/** The same for people. */
export const lately = '15 minutes';

/** How long what is known of the workers is kept, in milliseconds, and of how many. */
const keptFor = 1_000;
const mostWorkers = 10_000;

/** The workers that were seen lately, as the log has it. */
export function seenLately({ workers }: Pick<ReadModel, 'workers'>, edge: Pick<Edge, 'now'>): readonly WorkerRow[] {
  return workers.seenSince(Math.max(0, edge.now() - seenWithin), mostWorkers);
}

/** The same, looked up at most once a second. */
export function keptSeenLately(
  readModel: Pick<ReadModel, 'workers'>,
  edge: Pick<Edge, 'now' | 'monotonic'>,
): () => readonly WorkerRow[] {
  let known: { readonly workers: readonly WorkerRow[]; readonly until: number } | undefined;
  return () => {
    const now = edge.monotonic();
    if (!known || now >= known.until) known = { workers: seenLately(readModel, edge), until: now + keptFor };
    return known.workers;
  };
}
