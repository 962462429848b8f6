import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { CompletedCheck } from '../../../projections/read-model/checks.js';
import { isSameOutput } from '../../domain/outputs/addresses.js';
import type { JobsContext } from '../context.js';

/** Second runs that are looked at between two turns of others. */
const page = 100;

/** A job of which a second run gave another output. */
export type Differing = { readonly uuid: string; readonly repository: string; readonly check: CompletedCheck };

/** Takes a job out of reuse. It may be told of the same one again. */
export type ExcludeDiffering = (uuid: string, reason: string) => Promise<unknown>;

/**
 * Looks at every second run that completes, whoever asked for it, and says which gave another output than its job. With `exclude` that job is
 * excluded, unless it ever was before, so that what somebody reinstated stays; what completed while no server ran is looked at too.
 */
export function watchChecks(
  { readModel }: Pick<JobsContext, 'readModel'>,
  exclude: ExcludeDiffering | undefined,
  logger: Pick<Logger, 'warn' | 'error'>,
): { look(): Promise<void> } {
  let looked: number | undefined;
  let looking: Promise<void> | undefined;
  let again = false;

  async function lookOn(): Promise<void> {
    // Without anything to do for those of before, what is told begins now.
    looked ??= exclude ? -1 : readModel.position();
    for (;;) {
      const completed = readModel.checks.completedAfter(looked, page);
      for (const check of completed) {
        await judge(check);
        looked = check.completed;
      }
      if (completed.length < page) return;
      await turn();
    }
  }

  async function judge(check: CompletedCheck): Promise<void> {
    const job = readModel.jobs.get(check.checkOf);
    if (!job || job.output === '' || check.output === '') return;
    if (isSameOutput({ output: job.output, outputV1: job.output_v1 }, check)) return;
    const known = exclude && readModel.exclusions.positionsOfJob(job.repository, job.uuid).length > 0;
    if (known) return;
    logger.warn({ uuid: job.uuid, check: check.uuid }, 'a second run of a job gave another output');
    if (exclude) await exclude(job.uuid, `run ${check.runNumber}, which ran it again to compare, gave another output`);
  }

  async function look(): Promise<void> {
    do {
      again = false;
      await lookOn();
    } while (again);
  }

  function begin(): Promise<void> {
    again = true;
    looking ??= look()
      .catch((error: unknown) =>
        logger.error({ err: error }, 'second runs of jobs could not be compared; it is tried again'),
      )
      .finally(() => {
        looking = undefined;
      });
    return looking;
  }

  const lookIfLive = () => {
    if (readModel.progress().live) void begin();
  };
  readModel.onEnded(lookIfLive);
  lookIfLive();
  return { look: begin };
}
