import type { ExclusionRow } from '../../projections/read-model/exclusions.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Access } from '../domain/access.js';
import { quote } from '../domain/errors.js';
import type { ExclusionTarget } from '../domain/exclusions.js';
import type { JobRecord } from '../domain/job.js';
import type { Caller } from '../jobs/caller.js';
import { checkUuid } from '../jobs/limits.js';
import { checkKnows, denied, permitted } from '../jobs/reading/permit.js';

/**
 * Lets through who may exclude a target from reuse, or reinstate it: a job's owner, the administrators of a repository for its
 * jobs and commits, those of every repository for images, outputs and workers, which belong to none. `jobOf` loads a job as the caller may know of it.
 * @throws MemoirError NOT_FOUND or INVALID_ARGUMENT for what the caller may not know of, PERMISSION_DENIED otherwise
 */
export async function checkExcludes(
  caller: Caller,
  target: ExclusionTarget,
  jobOf: (caller: Caller, uuid: string) => Promise<JobRecord | undefined>,
): Promise<void> {
  const { access } = caller;
  switch (target.case) {
    case 'jobUuid': {
      const uuid = checkUuid('job_uuid', target.value);
      permitted(caller, uuid, await jobOf(caller, uuid), 'update', 'job_uuid');
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
    case 'worker':
      if (!access.administersAll) throw denied(caller, 'exclude images, outputs or what a worker ran from reuse');
      return;
    default:
      return;
  }
}

/**
 * Lets through who may lift an exclusion: whoever may order one like it. That of a job that was deleted since is for the
 * administrators of its repository. Throws as `checkExcludes`.
 */
export async function checkReinstates(
  caller: Caller,
  { repository, exclusion: { target } }: Pick<ExclusionRow, 'repository' | 'exclusion'>,
  jobOf: (caller: Caller, uuid: string) => Promise<JobRecord | undefined>,
): Promise<void> {
  if (target.case === 'jobUuid' && caller.access.administers(repository)) return;
  await checkExcludes(caller, target, jobOf);
}

/** Whether a principal may read a job; one that was deleted is for those who may read all. */
export function seesJob(access: Access, { jobs }: Pick<ReadModel, 'jobs'>, uuid: string): boolean {
  if (access.readsAll) return true;
  const job = jobs.get(uuid);
  return job !== undefined && access.reads(job);
}

/**
 * Whether a principal may know of an exclusion: one of a repository that it knows, or of a job that it may read. Images, outputs and
 * workers are of no repository, so that theirs are for those who may read all; others are told where a decision obeys one.
 */
export function knowsExclusion(
  access: Access,
  readModel: Pick<ReadModel, 'jobs'>,
  { repository, exclusion: { target } }: Pick<ExclusionRow, 'repository' | 'exclusion'>,
): boolean {
  if (access.readsAll) return true;
  if (target.case === 'jobUuid' && seesJob(access, readModel, target.value)) return true;
  return repository !== '' && access.knows(repository);
}
