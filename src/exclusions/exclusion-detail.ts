import type { PastReads } from '../../projections/history/as-of.js';
import type { Access } from '../domain/access.js';
import { quote } from '../domain/errors.js';
import { exclusionText } from '../domain/exclusions.js';
import type { ExcludedBy } from '../jobs/ports/exclusions.js';
import { knowsExclusion, seesJob } from './permit.js';

/** Why a candidate is ruled out, for people, without what the principal may not know of: other jobs and exclusions. */
export function exclusionDetail(
  reads: Pick<PastReads, 'exclusions' | 'jobs'>,
  { exclusion: { id }, taken }: ExcludedBy,
  access: Access,
): string {
  const row = reads.exclusions.get(id);
  if (!row) return `it is under exclusion ${id}`;
  // Whoever may read the candidate may know what it is itself.
  if (!taken) return exclusionText(row.exclusion);
  if (!knowsExclusion(access, reads, row)) {
    return `it took the output ${quote(taken.output)}, which is under exclusion ${id}`;
  }
  const uuid = taken.uuid !== '' && seesJob(access, reads, taken.uuid) ? taken.uuid : '';
  return exclusionText(row.exclusion, { ...taken, uuid });
}
