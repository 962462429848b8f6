import type { CreateJobRequest } from '../../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, MemoirError, quote } from '../../../domain/errors.js';
import type { Caller } from '../../caller.js';
import type { DecidingContext } from '../../context.js';
import { needsSharedRuns } from '../needs-shared-runs.js';

const field = 'supersede';

/**
 * Checks what a request may not have together with `supersede`, which asks for a run of exactly one commit.
 * @throws MemoirError INVALID_ARGUMENT naming both
 */
export function checkSuperseding(request: CreateJobRequest): void {
  const { filters, minimumScriptVersion, maxResultAge, nondeterministic } = request;
  const others = {
    filters: filters.length > 0,
    minimum_script_version: minimumScriptVersion !== '',
    max_result_age: maxResultAge !== undefined,
    nondeterministic,
  };
  const [other] = Object.entries(others).flatMap(([name, given]) => (given ? [name] : []));
  if (other === undefined) return;
  const why =
    other === 'nondeterministic'
      ? 'a nondeterministic job is never an answer'
      : 'it asks for a new run of one commit, whatever there is';
  throw invalid(field, 'BAD_OPTIONS', `${field} and ${other} cannot be given together: ${why}`);
}

/**
 * Checks that a caller may have jobs of a repository run again to be the answer in the place of what there is.
 * @throws MemoirError PERMISSION_DENIED naming the setting; FAILED_PRECONDITION where it may not be recorded
 */
export function checkMaySupersede(
  { submittersSupersede, sharesRuns }: Pick<DecidingContext, 'submittersSupersede' | 'sharesRuns'>,
  { principal, access }: Caller,
  repository: string,
): void {
  if (!submittersSupersede && !access.administers(repository)) {
    throw new MemoirError(
      'PERMISSION_DENIED',
      'SUPERSEDE_DENIED',
      `${quote(principal)} may not supersede jobs of repository ${quote(repository)}: that is for who administers it, or, with the setting ` +
        'reuse.supersede = "submitters", for all who may request jobs',
      { field },
    );
  }
  if (!sharesRuns) throw needsSharedRuns(field, { field });
}
