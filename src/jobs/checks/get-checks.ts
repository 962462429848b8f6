import { create } from '@bufbuild/protobuf';
import { type Check, CheckSchema } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { invalid, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { mayRead } from '../reading/permit.js';
import type { OutputComparer } from './output-comparer.js';

/** Most second runs that are told of at once. */
export const mostTold = 100;

/** Which second runs of a job to compare. */
export type ChecksWanted = {
  /** Uuids; none for the newest. */
  readonly checks: readonly string[];
  /** Most differences of each. */
  readonly most: number;
};

/**
 * What came of the second runs of a job that the caller may read, the newest first.
 * @throws MemoirError NOT_FOUND if the caller may not know of the job; INVALID_ARGUMENT naming a uuid that is none of its second runs
 */
export type GetChecks = (
  caller: Caller,
  uuid: string,
  wanted: ChecksWanted,
  signal: AbortSignal,
) => Promise<readonly Check[]>;

/** Makes it. */
export function checksReader(
  { streams, readModel }: Pick<JobsContext, 'streams' | 'readModel'>,
  compare: Pick<OutputComparer, 'outputs'>,
): GetChecks {
  return async (caller, uuid, { checks, most }, signal) => {
    const { job } = await streams.read(caller, uuid);
    const told: Check[] = [];
    for (const one of checks.length > 0 ? checks : readModel.checks.of(job.uuid, mostTold)) {
      const record = await streams.loadFor(caller, one);
      const isCheck =
        record && !record.deleted && record.job.checkOf === job.uuid && mayRead(caller.access, record.job);
      if (!isCheck) {
        if (checks.length === 0) continue;
        throw invalid('checks', 'NO_CHECK', `checks: ${quote(one)} is no second run of job ${job.uuid}`);
      }
      const { job: again } = record;
      const { state, output, createdAt } = again;
      const outcome = await compare.outputs(job, again, most, signal);
      told.push(create(CheckSchema, { uuid: again.uuid, state, output, ...(createdAt && { createdAt }), ...outcome }));
    }
    return told;
  };
}
