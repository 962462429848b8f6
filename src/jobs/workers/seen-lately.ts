import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { WorkerRow } from '../../../projections/read-model/workers.js';
import type { Access } from '../../domain/access.js';
import type { GrantedSecret } from '../../domain/secrets/grants.js';
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

/** Secrets that workers have which were seen lately and run jobs of a repository, by what they say and as they may, and for whom. */
export type SeenGrants = (repository: string) => readonly GrantedSecret[];

/**
 * Looks them up, drained workers or not, at most once a second.
 * @param accessOf - what a principal may do by itself: what only groups of a credential let a worker do is not known here
 */
export function seenGrants(
  readModel: Pick<ReadModel, 'workers'>,
  edge: Pick<Edge, 'now' | 'monotonic'>,
  accessOf: (principal: string) => Pick<Access, 'works'>,
): SeenGrants {
  const seen = keptSeenLately(readModel, edge);
  return (repository) =>
    seen().flatMap(({ principal, offer, repositories }) => {
      if (!offer || offer.secrets.length === 0) return [];
      const runs = repositories.length === 0 || repositories.includes(repository);
      return runs && accessOf(principal).works(repository) ? offer.secrets : [];
    });
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
