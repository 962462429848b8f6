import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { UpdateCommand } from '../../domain/commands.js';
import { invalid, quote } from '../../domain/errors.js';
import { checkComponents, checkLabels, checkLength, textLimits } from '../../jobs/limits.js';

/**
 * The command that sets the fields of `job` that the mask names.
 * @throws MemoirError INVALID_ARGUMENT if the mask is empty or names a field that cannot change, or a value is wrong
 */
export function updateCommand(
  job: Job,
  paths: readonly string[],
  expectedRevision: number | undefined,
  now: number,
): UpdateCommand {
  if (paths.length === 0) throw invalid('update_mask', 'REQUIRED', 'update_mask names no field');
  let command: UpdateCommand = { kind: 'update', expectedRevision, now };
  for (const path of paths) command = { ...command, ...value(job, path) };
  return command;
}

function value(job: Job, path: string): Partial<UpdateCommand> {
  switch (path) {
    case 'priority':
      return { priority: job.priority };
    case 'description':
      checkLength('job.description', job.description, textLimits.description);
      return { description: job.description };
    case 'components':
      checkComponents('job.components', job.components);
      return { components: job.components };
    case 'labels':
      checkLabels('job.labels', job.labels);
      return { labels: job.labels };
    default:
      throw invalid(
        'update_mask',
        'FIELD_NOT_MUTABLE',
        `update_mask names ${quote(path)}; only priority, description, components and labels can be changed`,
      );
  }
}
