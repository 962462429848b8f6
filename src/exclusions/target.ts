import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type WorkerTarget, WorkerTargetSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import { invalid, quote } from '../domain/errors.js';
import type { ExclusionTarget } from '../domain/exclusions.js';
import type { Repositories } from '../git/port.js';
import { checkTime } from '../jobs/check-time.js';
import { checkLength, checkRequired, checkUuid, textLimits } from '../jobs/limits.js';

/**
 * The target with everything in it checked and its refspecs resolved to commits, as an exclusion keeps it.
 * @throws MemoirError INVALID_ARGUMENT naming the field and the value, or what the repositories throw
 */
export async function checkTarget(
  repositories: Pick<Repositories, 'resolve' | 'isAncestor'>,
  target: ExclusionTarget,
): Promise<ExclusionTarget> {
  switch (target.case) {
    case 'jobUuid':
      return { ...target, value: checkUuid('job_uuid', target.value) };
    case 'commit': {
      const { repository, commit } = target.value;
      checkRequired('commit.repository', repository, textLimits.repository);
      checkRequired('commit.commit', commit, textLimits.refspec);
      const resolved = await repositories.resolve(repository, commit, { field: 'commit.commit' });
      return { ...target, value: { ...target.value, commit: resolved } };
    }
    case 'commitRange': {
      const { repository, introducedBy, fixedBy } = target.value;
      const fields = ['commit_range.introduced_by', 'commit_range.fixed_by'] as const;
      checkRequired('commit_range.repository', repository, textLimits.repository);
      checkRequired(fields[0], introducedBy, textLimits.refspec);
      if (fixedBy !== '') checkRequired(fields[1], fixedBy, textLimits.refspec);
      const introduced = await repositories.resolve(repository, introducedBy, { field: fields[0] });
      const fixed = fixedBy === '' ? '' : await repositories.resolve(repository, fixedBy, { field: fields[1] });
      // Asked in any case, so that a repository in which nobody can tell is refused now and not found out later.
      const [isBefore] = await repositories.isAncestor(repository, fixed || introduced, [introduced]);
      if (fixed !== '' && isBefore) {
        throw invalid(
          fields[1],
          'EMPTY_RANGE',
          `${fields[1]} ${quote(fixedBy)} (${fixed}) is ${fixed === introduced ? '' : 'in the history of '}` +
            `${fields[0]} ${quote(introducedBy)} (${introduced}), so that no commit is in the range`,
        );
      }
      return { ...target, value: { ...target.value, introducedBy: introduced, fixedBy: fixed } };
    }
    case 'dockerImageLocator':
      checkRequired('docker_image_locator', target.value, textLimits.image);
      return target;
    case 'output':
      checkRequired('output', target.value, textLimits.address);
      return target;
    case 'worker':
      return { ...target, value: checkWorker(target.value) };
    default:
      throw invalid(
        'target',
        'REQUIRED',
        'one of job_uuid, commit, commit_range, docker_image_locator, output and worker is required',
      );
  }
}

function checkWorker(target: WorkerTarget): WorkerTarget {
  const { principal, workerName, since, until } = target;
  checkRequired('worker.principal', principal, textLimits.workerName);
  checkLength('worker.worker_name', workerName, textLimits.workerName);
  const from = since && timestampFromMs(checkTime('worker.since', since));
  const to = until && timestampFromMs(checkTime('worker.until', until));
  if (from && to && timestampMs(to) <= timestampMs(from)) {
    const [begin, end] = [from, to].map((time) => new Date(timestampMs(time)).toISOString());
    throw invalid('worker.until', 'EMPTY_TIME', `worker.until ${end} is not after worker.since ${begin}`);
  }
  return create(WorkerTargetSchema, { principal, workerName, ...(from && { since: from }), ...(to && { until: to }) });
}
