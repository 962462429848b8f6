import { create } from '@bufbuild/protobuf';
import { type Decision, DecisionSchema } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import {
  type CreateJobRequest,
  type CreateJobsResult,
  CreateJobsResultSchema,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, type MemoirError } from '../../domain/errors.js';
import { type Position, start } from '../../eventstore/port.js';
import type { Caller } from '../../jobs/caller.js';
import type { Answer } from '../../jobs/deciding/create-job.js';
import type { CallContext } from '../call.js';
import { encodedJobLength } from '../encoded.js';
import { refusalOf } from '../messages/read-message.js';
import { cut } from '../status.js';
import { each, isError, requestError } from './many.js';

/** Most requests of a call. */
const maxRequests = 1_000;

/**
 * Bytes of an answer that results may have in full: with what all of them have in short, it is still within the 4 MiB that clients take
 * unless they are told otherwise.
 */
const fullBytes = 2.5 * 1024 * 1024;

/** Longest texts of an error beyond that, in UTF-16 code units. */
const longestText = 200;

/** What many requests are answered with. */
export type ManyAnswers = {
  /** In the order of the requests. */
  readonly results: readonly CreateJobsResult[];
  /** Whoever has read up to here sees all of them; `start` if nothing was recorded. */
  readonly position: Position;
};

/** Answers one request. @throws what a call with it alone would fail with */
export type AnswerOne = (caller: Caller, request: CreateJobRequest) => Promise<Answer>;

/**
 * Answers many requests, each by itself. `meant` makes of whatever an answer fails with what its caller is told.
 * @throws MemoirError INVALID_ARGUMENT if there are none or too many
 */
export async function createJobs(
  requests: readonly CreateJobRequest[],
  call: CallContext,
  one: AnswerOne,
  meant: (error: unknown) => MemoirError,
): Promise<ManyAnswers> {
  if (requests.length === 0) throw invalid('requests', 'REQUIRED', 'requests is required: from 1 to 1000 of them');
  if (requests.length > maxRequests) {
    throw invalid('requests', 'TOO_MANY', `requests has ${requests.length}, and ${maxRequests} is the limit`);
  }
  const answered = async (request: CreateJobRequest): Promise<Answer> => {
    const refusal = refusalOf(request);
    if (refusal) throw refusal;
    return one(call.caller, request);
  };
  const outcomes = await each(requests, call.signal, answered, meant);
  let [bytes, position] = [0, start];
  const results = outcomes.map((outcome) => {
    const whole = resultOf(outcome);
    bytes += roughLength(whole);
    if (!isError(outcome)) position = Math.max(position, outcome.position);
    return bytes <= fullBytes ? whole : shortened(whole);
  });
  return { results, position };
}

function resultOf(outcome: Answer | MemoirError): CreateJobsResult {
  if (isError(outcome)) return create(CreateJobsResultSchema, { error: requestError(outcome) });
  const { job, reused, decision } = outcome;
  return { $typeName: CreateJobsResultSchema.typeName, job, reused, decision, shortened: false };
}

/** Bytes that a result has at most, about. */
function roughLength({ job, decision, error }: CreateJobsResult): number {
  if (error) return 100 + 3 * Object.entries(error.metadata).flat().concat(error.message, error.field).join('').length;
  return 100 + (job ? encodedJobLength(job) : 0) + (decision ? decisionLength(decision) : 0);
}

function decisionLength({ summary, candidates, resolutions, funnel }: Decision): number {
  let length = 100 + 3 * summary.length;
  for (const { detail } of candidates) length += 60 + 3 * detail.length;
  for (const { field, given, resolved } of resolutions)
    length += 20 + 3 * (field.length + given.length + resolved.length);
  return length + 40 * funnel.length;
}

function shortened({ job, reused, decision, error }: CreateJobsResult): CreateJobsResult {
  if (error) {
    const { code, reason } = error;
    const [message, field] = [cut(error.message, longestText), cut(error.field, longestText)];
    return create(CreateJobsResultSchema, { error: { code, reason, message, field }, shortened: true });
  }
  return create(CreateJobsResultSchema, {
    ...(job && { job: shortJob(job) }),
    reused,
    ...(decision && { decision: shortDecision(decision) }),
    shortened: true,
  });
}

function shortJob({ uuid, state, revision }: Job): Job {
  return create(JobSchema, { uuid, state, revision });
}

function shortDecision({ outcome, summary, uuid }: Decision): Decision {
  return create(DecisionSchema, { outcome, summary: cut(summary, longestText), uuid });
}
