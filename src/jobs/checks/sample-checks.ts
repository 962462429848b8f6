import type { Logger } from 'pino';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { CheckJob } from './check-job.js';

/** Which complete jobs are run again. */
export type Sampling = {
  /** Share of those that are told of, from 0 to 1. */
  readonly sample: number;
  /** How many second runs may be unfinished together. */
  readonly atOnce: number;
};

/**
 * Runs a share of the complete jobs that it is told of again, behind everything else, for the server itself. One that was run again before, by
 * anybody, is not again; nor is one that was declared nondeterministic, has no output, or was given secrets, which nobody grants to the server. It never waits and never fails.
 */
export function checkSampler(
  { readModel, edge }: Pick<JobsContext, 'readModel' | 'edge'>,
  checkJob: CheckJob,
  { sample, atOnce }: Sampling,
  logger: Pick<Logger, 'warn'>,
): (job: Job) => void {
  const asking = new Set<string>();

  async function check(uuid: string): Promise<void> {
    try {
      await checkJob(serverItself(edge), uuid, { runs: 1 });
    } catch (error) {
      logger.warn({ err: error, uuid }, 'a job could not be run again to compare what it gives');
    } finally {
      asking.delete(uuid);
    }
  }

  return ({ uuid, checkOf, nondeterministic, output, secrets }) => {
    if (
      checkOf !== '' ||
      nondeterministic ||
      secrets.length > 0 ||
      output === '' ||
      edge.random() >= sample ||
      asking.has(uuid)
    )
      return;
    const { checks } = readModel.queue.loadOfOwner(serverItself(edge).principal);
    if (checks + asking.size >= atOnce || readModel.checks.of(uuid, 1).length > 0) return;
    asking.add(uuid);
    void check(uuid);
  };
}
