import type { Access } from '../domain/access.js';
import { quote } from '../domain/errors.js';
import type { ExclusionTarget } from '../domain/exclusions.js';
import type { JobRecord } from '../domain/job.js';
import type { Caller } from '../jobs/context.js';
import { checkUuid } from '../jobs/limits.js';
import { checkKnows, denied, permitted } from '../jobs/permit.js';

/**
 * Lets through who may exclude a target from reuse, or reinstate it: a job's owner, the administrators of a repository for its
 * jobs and commits, those of every repository for images and outputs, which belong to none. `jobOf` loads a job.
 * @throws MemoirError NOT_FOUND or INVALID_ARGUMENT for what the caller may not know of, PERMISSION_DENIED otherwise
 */
export async function checkExcludes(
  caller: Caller,
  target: ExclusionTarget,
  jobOf: (uuid: string) => Promise<JobRecord | undefined>,
): Promise<void> {
  const { access } = caller;
  switch (target.case) {
    case 'jobUuid': {
      const uuid = checkUuid('job_uuid', target.value);
      permitted(caller, uuid, await jobOf(uuid), 'update', 'job_uuid');
      return;
    }
    case 'commit':
    case 'commitRange': {
      const { repository } = target.value;
      checkKnows(caller, repository);
      if (!access.administers(repository)) {
        throw denied(caller, `exclude commits of repository ${quote(repository)} from reuse`);
      }
      return;
    }
    case 'dockerImageLocator':
    case 'output':
      if (!access.administersAll) throw denied(caller, 'exclude images or outputs from reuse');
      return;
    default:
      return;
  }
}

/** Whether the caller may know of an exclusion; `repository` is where it belongs, none for images and outputs. */
export function knowsExclusion(access: Access, repository: string): boolean {
  return repository === '' || repository.startsWith('@') ? access.readsAll : access.knows(repository);
}
