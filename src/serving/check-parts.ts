import type { Logger } from 'pino';
import type { ServerConfig } from '../config.js';
import type { ContentStore } from '../content/content.js';
import type { Exclusions } from '../exclusions/exclude.js';
import { serverItself } from '../jobs/caller.js';
import { jobChecker } from '../jobs/checks/check-job.js';
import { checksReader } from '../jobs/checks/get-checks.js';
import { outputComparer } from '../jobs/checks/output-comparer.js';
import { checkSampler } from '../jobs/checks/sample-checks.js';
import { watchChecks } from '../jobs/checks/watch-checks.js';
import { jobComparer } from '../jobs/comparing/compare-jobs.js';
import type { JobsContext } from '../jobs/context.js';
import type { Checks } from '../rpc/jobs/jobs-service.js';

/** What runs jobs again to compare what they give, and the context that tells it of complete jobs where some are to be. */
export function withChecks(
  given: JobsContext,
  content: ContentStore,
  { sample, at_once: atOnce }: ServerConfig['determinism'],
  logger: Logger,
): { readonly context: JobsContext; readonly checks: Checks } {
  const checkJob = jobChecker(given);
  const comparer = outputComparer(given.readModel, content);
  const checks = {
    checkJob,
    getChecks: checksReader(given, comparer),
    compareJobs: jobComparer(given, comparer),
  };
  if (sample === 0 || !given.sharesRuns) return { context: given, checks };
  return { context: { ...given, toCompare: checkSampler(given, checkJob, { sample, atOnce }, logger) }, checks };
}

/** Says which jobs gave another output when they were run again, and excludes them where that is configured. */
export function watchDifferences(
  context: JobsContext,
  exclusions: Pick<Exclusions, 'exclude'>,
  { on_difference: onDifference }: ServerConfig['determinism'],
  logger: Logger,
): void {
  const exclude = (uuid: string, reason: string) =>
    exclusions.exclude(
      serverItself(context.edge),
      { target: { case: 'jobUuid', value: uuid }, cascade: false, reason },
      1,
    );
  watchChecks(context, onDifference === 'exclude' ? exclude : undefined, logger);
}
