import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { Access } from '../../domain/access.js';
import { jobUuid } from '../../domain/computation.js';
import type { Caller } from '../caller.js';
import type { DecidingContext } from '../context.js';
import type { NearMiss, NearRequest } from '../reading/near-misses.js';
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
  /** Past jobs that are nearly the same, where one would be created. */
  readonly nearMisses?: readonly NearMiss[];
};

/** What is looked at where a job would be made. */
export type Beside = {
  readonly checkInputs?: (caller: Caller, request: CreateJobRequest) => Promise<unknown>;
  readonly nearMisses?: (access: Access, request: NearRequest) => Promise<readonly NearMiss[]>;
};

/**
 * What CreateJob would decide for a request that `checkCreateJob` let through, with up to `maxCandidates` candidates. Records
 * nothing.
 * @throws MemoirError as that and `checkScriptOf` do
 */
export async function explainReuse(
  context: DecidingContext,
  find: FindReusable,
  caller: Caller,
  request: CreateJobRequest,
  maxCandidates: number,
  { checkInputs, nearMisses }: Beside = {},
): Promise<Explanation> {
  const wanted = await resolveRequest({ ...context, images: context.images.unrecorded }, caller, request);
  const { decision, record } = await find(wanted, { listed: maxCandidates, recording: false });
  if (record) {
    const told = reused(record.job, decision, wanted.resolutions, maxCandidates);
    return { decision: await withCode(context.repositories, wanted, told, decision), job: record.job };
  }
  await checkScriptOf(wanted, context.repositories);
  await checkInputs?.(caller, request);
  const { computation } = wanted.digests;
  const uuid = jobUuid(computation, context.readModel.candidates.lastRun(computation) + 1);
  const told = createdNoMatch(uuid, decision, wanted.resolutions, maxCandidates);
  const { commit: scriptVersion, dockerImageLocator, arvadosSdkVersion, code } = wanted;
  const { repository, script, scriptParameters } = request;
  const place = { scriptVersion, codeDigest: code?.digest ?? '', dockerImageLocator, arvadosSdkVersion };
  const near = await nearMisses?.(caller.access, { repository, script, scriptParameters, ...place });
  return {
    decision: await withCode(context.repositories, wanted, told, decision),
    ...(near && { nearMisses: near }),
  };
}
