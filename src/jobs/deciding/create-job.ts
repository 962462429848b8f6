import { create, type JsonObject, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type JobRequested, JobRequestedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobRequest, CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { normalCodePaths } from '../../domain/code/code-paths.js';
import { jcsDigest, jobUuid } from '../../domain/computation.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import { type Position, StreamDeleted, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { contended, maxAttempts } from '../contention.js';
import type { JobsContext } from '../context.js';
import type { Executed } from '../job-streams.js';
import { keyedLock } from '../keyed-lock.js';
import { type AnswerEvent, answerEvent, recordAnswer } from './answer-with-job.js';
import { recordedRetry } from './check-retry.js';
import { checkScriptOf } from './check-script.js';
import { basisMessage } from './decision-basis.js';
import { createdAsAsked, createdNoMatch, retried, reused } from './decision-message.js';
import type { FindReusable, Found } from './find-reusable.js';
import { inputsOf } from './inputs.js';
import { needsSharedRuns } from './needs-shared-runs.js';
import { type Intention, openSubmissions, usedBefore } from './submissions.js';
import { resolveRequest, type Wanted } from './wanted.js';

/** What became of a request. */
export type Answer = {
  readonly job: Job;
  readonly reused: boolean;
  readonly decision: Decision;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
};

/** Answers a request that `checkCreateJob` let through with a job that is the same work, or records a new one. */
export type CreateJob = (caller: Caller, request: CreateJobRequest) => Promise<Answer>;

/** A request and, if it has a submit_id, the digest of the rest of it; empty otherwise. */
type Request = {
  readonly caller: Caller;
  readonly request: CreateJobRequest;
  readonly digest: string;
  /** What was intended for its submit_id before, and became another's. */
  failed?: Intention | undefined;
  /** Revision of what this call intended for it last: what is answered by that is no repeat. */
  intended?: number;
  /** How often a job was no longer as it was when it was decided on. */
  changed?: number;
};

/** A decision for a past job. */
type Reusable = Found & { readonly record: JobRecord };

/**
 * Makes the use case CreateJob. It is exactly-once without a lock that others share: run n of a computation is appended to a
 * stream that must not exist, so that of two servers that decide the same one collides, catches up and decides again.
 */
export function jobCreator(context: JobsContext, find: FindReusable): CreateJob {
  const { store, readModel, streams, written, edge } = context;
  const serially = keyedLock();
  const submissions = openSubmissions(context);

  async function createJob(caller: Caller, request: CreateJobRequest): Promise<Answer> {
    if (request.submitId === '') return answer({ caller, request, digest: '' });
    const asked: Request = { caller, request, digest: digestOfRequest(request) };
    const key = submitKey(caller.principal, request.submitId);
    return serially(key, async () => {
      await written.seen(key);
      return (await retry(asked)) ?? answer(asked);
    });
  }

  /** The answer to the first request with this submit_id, if this is not the first, or what this call itself has intended stands. */
  async function retry(asked: Request): Promise<Answer | undefined> {
    const { caller, request, digest } = asked;
    const intention = await submissions.last(asked);
    if (intention) {
      const first = intention.revision === asked.intended;
      const done = await submissions.complete(asked, intention, first);
      asked.failed = done ? undefined : intention;
      if (!done) return undefined;
      const { record, decision } = done;
      if (!first || !decision || record.deleted) return repeated(record, request.submitId);
      const reused = intention.event.answer.case !== 'requested';
      return { job: record.job, reused, decision, position: await store.end() };
    }
    const row = readModel.jobs.bySubmitId(caller.principal, request.submitId);
    if (!row) return undefined;
    if (row.request_digest !== digest) throw usedBefore(request.submitId, row.uuid);
    return repeated(await streams.load(row.uuid), request.submitId, row.uuid);
  }

  async function repeated(record: JobRecord | undefined, submitId: string, uuid = record?.job.uuid ?? '') {
    if (!record || record.deleted) {
      throw new MemoirError(
        'FAILED_PRECONDITION',
        'JOB_DELETED',
        `job ${uuid}, which the first request with submit_id ${quote(submitId)} made, was deleted`,
        { field: 'submit_id', metadata: { uuid } },
      );
    }
    return { job: record.job, reused: true, decision: retried(uuid, submitId), position: await store.end() };
  }

  /** Records how a request is going to be answered, if it has a submit_id. @throws WrongExpectedRevision if another server did before */
  async function intend(asked: Request, event: JobRequested | AnswerEvent): Promise<void> {
    if (asked.digest === '' || !context.recordIntentions) return;
    await submissions.intend(asked, asked.failed, event);
    asked.intended = (asked.failed?.revision ?? -1) + 1;
  }

  async function answer(asked: Request): Promise<Answer> {
    const wanted = await resolveRequest(context, asked.caller, asked.request);
    const found = asked.request.findOrCreate ? await find(wanted) : undefined;
    if (found && isReusable(found)) return recordReuse(asked, wanted, found);
    const made = await serially(wanted.digests.computation, () => findOrCreate(asked, wanted));
    return 'job' in made ? made : recordReuse(asked, wanted, made);
  }

  async function findOrCreate(asked: Request, wanted: Wanted): Promise<Answer | Reusable> {
    // The last run whose stream is taken by what the read model has no job for: one that is damaged, or what others wrote there.
    let taken = 0;
    for (let i = 0; i < maxAttempts; i++) {
      const found = asked.request.findOrCreate ? await find(wanted) : undefined;
      if (found && isReusable(found)) return found;
      await written.seen(wanted.digests.computation);
      const lastRun = found?.lastRun ?? readModel.candidates.lastRun(wanted.digests.computation);
      const run = Math.max(lastRun, taken) + 1;
      // Another server may have made the job since the submit_id was looked up, and its run would be counted in.
      const earlier = asked.digest === '' || store.exclusive ? undefined : await retry(asked);
      if (earlier) return earlier;
      let collided: string | undefined;
      try {
        return await createRun(asked, wanted, run, found);
      } catch (error) {
        collided = collidedAt(error);
      }
      await written.catchUp(await store.end());
      const { computation } = wanted.digests;
      const ofRun = collided === undefined || collided === jobStream(jobUuid(computation, run));
      if (ofRun && readModel.candidates.lastRun(computation) < run) taken = run;
      const first = asked.digest === '' ? undefined : await retry(asked);
      if (first) return first;
    }
    throw contended('others request the same computation');
  }

  async function createRun(
    asked: Request,
    wanted: Wanted,
    runNumber: number,
    found: Found | undefined,
  ): Promise<Answer> {
    await checkScriptOf(wanted, context.repositories);
    const mayHave = wanted.inputs !== undefined || asked.request.inputs.length > 0;
    const inputs = mayHave ? await inputsOf(context, asked.caller, asked.request) : [];
    const uuid = jobUuid(wanted.digests.computation, runNumber);
    const decision = found
      ? createdNoMatch(uuid, found.decision, wanted.resolutions)
      : createdAsAsked(uuid, wanted.resolutions);
    const event = requested(asked, wanted, uuid, runNumber, decision, edge.now());
    if (found) event.basis = basisMessage(wanted, found.basis);
    if (inputs.length > 0) event.inputs = inputs;
    if (wanted.code) {
      event.codePaths = [...wanted.code.paths];
      event.codeDigest = wanted.code.digest;
    }
    if (asked.request.supersede) event.supersede = true;
    if (asked.request.unhashedParameters) event.unhashedParameters = asked.request.unhashedParameters;
    if (wanted.secrets) event.secrets = create(JobRequestedSchema, { secrets: [...wanted.secrets] }).secrets;
    if (context.sharesRuns) {
      event.retry = recordedRetry(asked.request.retry);
      event.turnWeight = context.shares.ofOwner(event.owner).weight;
    } else if (asked.request.retry) throw needsSharedRuns('retry', { field: 'retry' });
    const held = context.quotas.hold(event.owner, uuid);
    let made: Executed | undefined;
    try {
      await intend(asked, event);
      made = await streams.request(asked.caller, event);
    } finally {
      held.end(made?.position);
    }
    const { record, position } = made;
    if (asked.digest !== '') written.note(submitKey(asked.caller.principal, asked.request.submitId), position);
    context.keepCommit?.({ uuid, repository: record.job.repository, commit: record.job.scriptVersion });
    return { job: record.job, reused: false, decision, position };
  }

  async function recordReuse(
    asked: Request,
    wanted: Wanted,
    { decision: found, record, basis }: Reusable,
  ): Promise<Answer> {
    const { caller } = wanted;
    const decision = reused(record.job, found, wanted.resolutions);
    const answered = { wanted, digest: asked.digest, basis, decision, record, now: edge.now() };
    const event = answerEvent(answered, context);
    try {
      await intend(asked, event);
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
      // Another server answers the same submit_id now.
      const first = await retry(asked);
      return first ?? answer(asked);
    }
    const recorded = await recordAnswer(context, caller, event, record);
    if (!recorded) return decideAgain(asked);
    const { job } = recorded.record;
    if (context.toCompare && job.state === JobState.COMPLETE) context.toCompare(job);
    return { job, reused: true, decision: recorded.decision ?? decision, position: recorded.position };
  }

  /** The job was claimed, finished or cancelled while the request was to join it. */
  async function decideAgain(asked: Request): Promise<Answer> {
    asked.changed = (asked.changed ?? 0) + 1;
    if (asked.changed >= maxAttempts) throw contended('others change the job that is the answer');
    const first = asked.digest === '' ? undefined : await retry(asked);
    return first ?? answer(asked);
  }

  return createJob;
}

/** The stream that was not where an append expected it; undefined if it was deleted. @throws any other error */
function collidedAt(error: unknown): string | undefined {
  if (error instanceof WrongExpectedRevision) return error.stream;
  if (error instanceof StreamDeleted) return undefined;
  throw error;
}

function isReusable(found: Found): found is Reusable {
  return found.record !== undefined;
}

function requested(
  { caller, request, digest }: Request,
  wanted: Wanted,
  uuid: string,
  runNumber: number,
  decision: Decision,
  now: number,
): JobRequested {
  const { commit, digests, dockerImageLocator, arvadosSdkVersion } = wanted;
  // In one literal, as `evolve` makes jobs.
  const event: JobRequested = {
    $typeName: JobRequestedSchema.typeName,
    uuid,
    owner: caller.principal,
    repository: request.repository,
    script: request.script,
    scriptVersion: commit,
    suppliedScriptVersion: request.scriptVersion,
    scriptParameters: request.scriptParameters ?? {},
    parametersDigest: digests.parameters,
    computationDigest: digests.computation,
    runNumber,
    priority: request.priority,
    submitId: request.submitId,
    requestDigest: digest,
    dockerImageLocator,
    arvadosSdkVersion,
    nondeterministic: request.nondeterministic,
    leaveLfsPointers: request.leaveLfsPointers,
    leaveSubmodules: request.leaveSubmodules,
    requireOutput: request.requireOutput,
    description: request.description,
    components: request.components,
    labels: request.labels,
    requiredLabels: request.requiredLabels,
    decision,
    requestedAt: timestampFromMs(now),
    retryOf: '',
    checkOf: '',
    supersede: false,
    inputs: [],
    codePaths: [],
    codeDigest: '',
    secrets: [],
  };
  if (request.runtimeConstraints) event.runtimeConstraints = request.runtimeConstraints;
  if (request.limits) event.limits = request.limits;
  if (request.outputTtl) event.outputTtl = request.outputTtl;
  return event;
}

function digestOfRequest(request: CreateJobRequest): string {
  const { scriptParameters = {} } = request;
  // The order of code paths does not matter, nor how an answer is told.
  const codePaths = request.codePaths.length === 0 ? request.codePaths : [...normalCodePaths(request.codePaths)];
  const asked = { ...request, scriptParameters, codePaths, submitId: '', explainMisses: false };
  return jcsDigest(toJson(CreateJobRequestSchema, asked) as JsonObject);
}

function submitKey(principal: string, submitId: string): string {
  return `submit_id ${JSON.stringify([principal, submitId])}`;
}
