import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { jobUuid } from '../../domain/computation.js';
import type { Caller } from '../caller.js';
import type { DecidingContext } from '../context.js';
import { checkScriptOf } from './check-script.js';
import { withCode } from './code/explain-code.js';
import { createdNoMatch, reused } from './decision-message.js';
import type { FindReusable } from './find-reusable.js';
import { resolveRequest } from './wanted.js';

/** What CreateJob would decide. */
export type Explanation = {
  readonly decision: Decision;
  /** The job that would be the answer. */
  readonly job?: Job;
};

/**
 * What CreateJob would decide for a request that `checkCreateJob` let through, with up to `maxCandidates` candidates. Records
 * nothing.
 * @param checkInputs looks at the inputs where a job would be made
 * @throws MemoirError as that and `checkScriptOf` do
 */
export async function explainReuse(
  context: DecidingContext,
  find: FindReusable,
  caller: Caller,
  request: CreateJobRequest,
  maxCandidates: number,
  checkInputs: (caller: Caller, request: CreateJobRequest) => Promise<unknown> = async () => undefined,
): Promise<Explanation> {
  const wanted = await resolveRequest({ ...context, images: context.images.unrecorded }, caller, request);
  const { decision, record } = await find(wanted, { listed: maxCandidates, recording: false });
  if (record) {
    const told = reused(record.job, decision, wanted.resolutions, maxCandidates);
    return { decision: await withCode(context.repositories, wanted, told, decision), job: record.job };
  }
  await checkScriptOf(wanted, context.repositories);
  await checkInputs(caller, request);
  const { computation } = wanted.digests;
  const uuid = jobUuid(computation, context.readModel.candidates.lastRun(computation) + 1);
  const told = createdNoMatch(uuid, decision, wanted.resolutions, maxCandidates);
  return { decision: await withCode(context.repositories, wanted, told, decision) };
}
