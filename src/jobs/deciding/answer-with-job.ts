import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type JobJoined,
  JobJoinedSchema,
  type JobReused,
  JobReusedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import {
  isChangedMeanwhile,
  isCovered,
  isFull,
  mostInterests,
  notRaised,
  refusedMinima,
} from '../../domain/interests/decide-interests.js';
import { minimaOf } from '../../domain/interests/minima.js';
import { isFinished, type JobRecord } from '../../domain/job.js';
import { reuseStream } from '../../domain/streams.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import type { Executed } from '../job-streams.js';
import { unofferedIfRaised } from '../workers/waiting-for.js';
import { recordedRetry } from './check-retry.js';
import { basisMessage } from './decision-basis.js';
import type { Found } from './find-reusable.js';
import type { Wanted } from './wanted.js';

/** What is recorded of an answer with a job that was there before. */
export type AnswerEvent = JobReused | JobJoined;

/** What an answer is made of. */
export type Answered = {
  readonly wanted: Wanted;
  /** SHA-256 of the rest of a request with a submit_id; empty otherwise. */
  readonly digest: string;
  readonly basis: Found['basis'];
  readonly decision: Decision;
  readonly record: JobRecord;
  readonly now: number;
};

/**
 * The event for an answer. A request that is answered with an unfinished job joins it, where runs are shared, unless the caller wants the job
 * already for all that this request asks, or as many want it as may: then that it was answered is recorded beside the job.
 */
export function answerEvent(
  answered: Answered,
  context: Pick<JobsContext, 'sharesRuns' | 'shares' | 'readModel' | 'edge'>,
): AnswerEvent {
  const { sharesRuns, shares } = context;
  const { record, wanted } = answered;
  if (!sharesRuns || isFinished(record.job.state)) return reusedEvent(answered);
  const joined = joinedEvent(answered, shares.ofOwner(wanted.caller.principal).weight);
  const raisesMinima = unofferedIfRaised(context);
  if (isCovered(record, joined, raisesMinima)) {
    const refused = refusedMinima(record, joined, raisesMinima);
    return reusedEvent(
      refused === undefined ? answered : { ...answered, decision: notRaised(answered.decision, refused) },
    );
  }
  if (!isFull(record.interests)) return joined;
  const decision = { ...answered.decision, summary: `${answered.decision.summary}; ${tooMany}` };
  return reusedEvent({ ...answered, decision });
}

const tooMany = `${mostInterests} want it already, so that this request does not keep it from being cancelled`;

function reusedEvent({ wanted, digest, basis, decision, record, now }: Answered): JobReused {
  const { caller, request, commit } = wanted;
  const event: JobReused = {
    $typeName: JobReusedSchema.typeName,
    uuid: record.job.uuid,
    requestedBy: caller.principal,
    suppliedScriptVersion: request.scriptVersion,
    scriptVersion: commit,
    submitId: request.submitId,
    requestDigest: digest,
    labels: request.labels,
    decision,
    reusedAt: timestampFromMs(now),
    basis: basisMessage(wanted, basis),
  };
  if (request.outputTtl) event.outputTtl = request.outputTtl;
  return event;
}

function joinedEvent({ wanted, digest, basis, decision, record, now }: Answered, turnWeight: number): JobJoined {
  const { caller, request, commit } = wanted;
  const minima = minimaOf(request.runtimeConstraints);
  return create(JobJoinedSchema, {
    uuid: record.job.uuid,
    interest: request.submitId,
    principal: caller.principal,
    submitId: request.submitId,
    requestDigest: digest,
    suppliedScriptVersion: request.scriptVersion,
    scriptVersion: commit,
    priority: request.priority,
    turnWeight,
    labels: request.labels,
    decision,
    joinedAt: timestampFromMs(now),
    basis: basisMessage(wanted, basis),
    ...(request.limits && { limits: request.limits }),
    ...(request.outputTtl && { outputTtl: request.outputTtl }),
    retry: recordedRetry(request.retry),
    ...(minima && { minima }),
  });
}

/** What was done for an answer, and who waits for the job after it. */
export type Recorded = {
  readonly record: JobRecord;
  readonly position: Position;
  /** Why, as it was recorded. */
  readonly decision: Decision | undefined;
};

/**
 * Records an answer.
 * @returns undefined if the job is no longer as it was decided on, and nothing was recorded: then it is to be decided anew
 */
export async function recordAnswer(
  context: Pick<JobsContext, 'store' | 'streams' | 'edge' | 'serverVersion' | 'readModel'>,
  caller: Caller,
  event: AnswerEvent,
  record: JobRecord,
): Promise<Recorded | undefined> {
  if (event.$typeName === 'memoir.events.v1.JobReused') {
    return { record, position: await recordReused(context, caller, event), decision: event.decision };
  }
  const { state } = record.job;
  const joined = await joinJob(context, caller, event, state);
  if (!joined) return undefined;
  // Meanwhile the same was wanted by another call, or so many came that this one could not join.
  if (!joined.changed && !wants(joined.record, event)) {
    const position = await recordReused(context, caller, reusedInstead(event));
    return { record: joined.record, position, decision: event.decision };
  }
  return { ...joined, decision: decisionOf(joined) ?? event.decision };
}

/** The decision that a join was recorded with. */
export function decisionOf({ events }: Pick<Executed, 'events'>): Decision | undefined {
  return events.find((event) => event.$typeName === 'memoir.events.v1.JobJoined')?.decision;
}

/**
 * Joins a job, which must be in the state given, if any.
 * @returns undefined if it is not, or has finished
 */
export async function joinJob(
  context: Pick<JobsContext, 'streams' | 'edge' | 'readModel'>,
  caller: Caller,
  joined: JobJoined,
  state?: JobRecord['job']['state'],
): Promise<Executed | undefined> {
  const { streams, edge } = context;
  const raisesMinima = unofferedIfRaised(context);
  const command = { kind: 'join', joined, raisesMinima, now: edge.now() } as const;
  try {
    return await streams.execute(caller, joined.uuid, state === undefined ? command : { ...command, state });
  } catch (error) {
    if (isChangedMeanwhile(error)) return undefined;
    throw error;
  }
}

/** Whether a join was recorded, whatever became of it since; always false of one without a submit_id. */
export function wants({ interests }: JobRecord, { principal, submitId }: JobJoined): boolean {
  if (submitId === '') return false;
  const own = (one: { readonly id: string; readonly principal: string }) =>
    one.id === submitId && one.principal === principal;
  return interests.standing.some(own) || interests.ended.some(own);
}

/** Records beside a job that a request was answered with it. */
export async function recordReused(
  context: Pick<JobsContext, 'store' | 'edge' | 'serverVersion'>,
  caller: Caller,
  event: JobReused,
): Promise<Position> {
  const encoded = eventOfCall(context, caller, event);
  const { position } = await context.store.append(reuseStream(event.uuid), 'any', [encoded]);
  return position;
}

/** The same answer for a job that could not be joined. */
export function reusedInstead(joined: JobJoined): JobReused {
  const { uuid, suppliedScriptVersion, scriptVersion, submitId, requestDigest, labels, decision, basis, outputTtl } =
    joined;
  return create(JobReusedSchema, {
    uuid,
    requestedBy: joined.principal,
    suppliedScriptVersion,
    scriptVersion,
    submitId,
    requestDigest,
    labels,
    ...(decision && { decision }),
    ...(basis && { basis }),
    ...(joined.joinedAt && { reusedAt: joined.joinedAt }),
    ...(outputTtl && { outputTtl }),
  });
}
