import { create, type JsonObject, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type JobRequested, JobRequestedSchema, JobReusedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { Decision } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobRequest, CreateJobRequestSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { type ComputationDigests, computationDigests, jcsDigest, jobUuid } from '../domain/computation.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { JobRecord } from '../domain/job.js';
import { type CandidateFacts, decideReuse, factsOf, type ReuseDecision, type ReuseTerms } from '../domain/reuse.js';
import { reuseStream } from '../domain/streams.js';
import { encodeEvent } from '../eventstore/codec.js';
import { metadataJson, type Position, WrongExpectedRevision } from '../eventstore/port.js';
import { cachedCandidates } from './cached-candidates.js';
import type { Caller, JobsContext } from './context.js';
import { createdAsAsked, createdNoMatch, retried, reused } from './decision-message.js';
import { keyedLock } from './keyed-lock.js';

/** How often a decision is taken again after another server made the run that this one wanted to make. */
const maxAttempts = 20;

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

/** What of a request does not change while its decision is taken. */
type Wanted = {
  readonly caller: Caller;
  readonly request: CreateJobRequest;
  readonly commit: string;
  readonly digests: ComputationDigests;
  readonly requestDigest: string;
  readonly terms: ReuseTerms;
};

type Found = { readonly decision: ReuseDecision<CandidateFacts>; readonly record?: JobRecord };

/**
 * Makes the use case CreateJob. It is exactly-once without a lock that others share: run n of a computation is appended to a
 * stream that must not exist, so that of two servers that decide the same one collides, catches up and decides again.
 */
export function jobCreator(context: JobsContext): CreateJob {
  const { store, readModel, streams, written, edge } = context;
  const serially = keyedLock();
  const candidatesOf = cachedCandidates(context);

  async function createJob(caller: Caller, request: CreateJobRequest): Promise<Answer> {
    if (request.submitId === '') return answer(caller, request, '');
    const requestDigest = digestOfRequest(request);
    const key = submitKey(caller.principal, request.submitId);
    return serially(key, async () => {
      await written.seen(key);
      return (await retry(caller, request, requestDigest)) ?? answer(caller, request, requestDigest);
    });
  }

  /** The answer to the first request with this submit_id, if this is not the first. */
  async function retry(caller: Caller, request: CreateJobRequest, digest: string): Promise<Answer | undefined> {
    const row = readModel.jobs.bySubmitId(caller.principal, request.submitId);
    if (!row) return undefined;
    if (row.request_digest !== digest) {
      throw new MemoirError(
        'ALREADY_EXISTS',
        'SUBMIT_ID_USED',
        `submit_id ${quote(request.submitId)} was used for another request, which made job ${row.uuid}`,
        { field: 'submit_id', metadata: { uuid: row.uuid } },
      );
    }
    const record = await streams.load(row.uuid);
    if (!record || record.deleted) {
      throw new MemoirError(
        'FAILED_PRECONDITION',
        'JOB_DELETED',
        `job ${row.uuid}, which the first request with submit_id ${quote(request.submitId)} made, was deleted`,
        { field: 'submit_id', metadata: { uuid: row.uuid } },
      );
    }
    const decision = retried(row.uuid, request.submitId);
    return { job: record.job, reused: true, decision, position: await store.end() };
  }

  async function answer(caller: Caller, request: CreateJobRequest, requestDigest: string): Promise<Answer> {
    const { repository, script, scriptParameters = {} } = request;
    const commit = await context.repositories.resolve(repository, request.scriptVersion);
    refuseImage(request);
    const digests = computationDigests({ repository, script, scriptParameters });
    const terms: ReuseTerms = {
      principal: caller.principal,
      acceptsCommit: (candidate) => candidate === commit,
      acceptedCommits: commit,
      dockerImageLocator: '',
      arvadosSdkVersion: '',
      reuseIfOutputsDiffer: context.reuseIfOutputsDiffer,
    };
    const wanted: Wanted = { caller, request, commit, digests, requestDigest, terms };
    const found = request.findOrCreate ? await look(wanted) : undefined;
    if (found?.record) return recordReuse(wanted, found.decision, found.record);
    const made = await serially(digests.computation, () => lookOrCreate(wanted));
    return 'job' in made ? made : recordReuse(wanted, made.decision, made.record);
  }

  async function lookOrCreate(wanted: Wanted): Promise<Answer | Required<Found>> {
    for (let i = 0; i < maxAttempts; i++) {
      const found = wanted.request.findOrCreate ? await look(wanted) : undefined;
      if (found?.record) return { decision: found.decision, record: found.record };
      await written.seen(wanted.digests.computation);
      try {
        return await createRun(wanted, found?.decision);
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision)) throw error;
      }
      await written.catchUp(await store.end());
      const first = wanted.requestDigest && (await retry(wanted.caller, wanted.request, wanted.requestDigest));
      if (first) return first;
    }
    throw new MemoirError('ABORTED', 'CONTENTION', 'others request the same computation all the time; try again');
  }

  /**
   * Decides by the reuse index, once it has what this process wrote. It may be behind what other servers did, so a chosen job is
   * looked up in its stream, and if it is not as the index has it, the decision is taken again with what the stream says.
   */
  async function look(wanted: Wanted): Promise<Found> {
    await written.seen(wanted.digests.computation);
    let candidates = candidatesOf(wanted.digests.computation);
    for (;;) {
      const decision = decideReuse(candidates, wanted.terms);
      const { chosen } = decision;
      if (!chosen) return { decision };
      const record = await streams.load(chosen.uuid);
      if (!record)
        throw new MemoirError('INTERNAL', 'INDEX_WRONG', `job ${chosen.uuid} of the index is not in the log`);
      const fresh = factsOf(record);
      if (fresh.state === chosen.state && fresh.deleted === chosen.deleted) return { decision, record };
      candidates = candidates.map((candidate) => (candidate === chosen ? fresh : candidate));
    }
  }

  async function createRun(wanted: Wanted, found: ReuseDecision<CandidateFacts> | undefined): Promise<Answer> {
    const { computation } = wanted.digests;
    const runNumber = readModel.candidates.lastRun(computation) + 1;
    const uuid = jobUuid(computation, runNumber);
    const decision = found ? createdNoMatch(uuid, found) : createdAsAsked(uuid);
    const event = requested(wanted, uuid, runNumber, decision, edge.now());
    const { record, position } = await streams.request(wanted.caller, event);
    if (wanted.requestDigest) written.note(submitKey(wanted.caller.principal, wanted.request.submitId), position);
    return { job: record.job, reused: false, decision, position };
  }

  async function recordReuse(wanted: Wanted, found: ReuseDecision<CandidateFacts>, record: JobRecord): Promise<Answer> {
    const { caller, request, commit } = wanted;
    const { job } = record;
    const decision = reused(factsOf(record), found);
    const event = create(JobReusedSchema, {
      uuid: job.uuid,
      requestedBy: caller.principal,
      suppliedScriptVersion: request.scriptVersion,
      scriptVersion: commit,
      submitId: request.submitId,
      decision,
      reusedAt: timestampFromMs(edge.now()),
    });
    const { position } = await store.append(reuseStream(job.uuid), 'any', [encode(caller, event)]);
    return { job, reused: true, decision, position };
  }

  function encode(caller: Caller, event: Parameters<typeof encodeEvent>[1]) {
    return encodeEvent(edge.uuid(), event, metadataJson({ ...caller, serverVersion: context.serverVersion }));
  }

  return createJob;
}

/** Images are not registered yet, so that every image is an unknown one. */
function refuseImage({ runtimeConstraints }: CreateJobRequest): void {
  const image = runtimeConstraints?.dockerImage;
  if (!image) return;
  throw new MemoirError('INVALID_ARGUMENT', 'UNKNOWN_IMAGE', `docker_image ${quote(image)} is not a registered image`, {
    field: 'runtime_constraints.docker_image',
  });
}

function requested(wanted: Wanted, uuid: string, runNumber: number, decision: Decision, now: number): JobRequested {
  const { caller, request, commit, digests, requestDigest } = wanted;
  return create(JobRequestedSchema, {
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
    requestDigest,
    nondeterministic: request.nondeterministic,
    description: request.description,
    components: request.components,
    decision,
    requestedAt: timestampFromMs(now),
    ...(request.runtimeConstraints && { runtimeConstraints: request.runtimeConstraints }),
  });
}

function digestOfRequest(request: CreateJobRequest): string {
  const { scriptParameters = {} } = request;
  return jcsDigest(toJson(CreateJobRequestSchema, { ...request, scriptParameters, submitId: '' }) as JsonObject);
}

function submitKey(principal: string, submitId: string): string {
  return `submit_id ${JSON.stringify([principal, submitId])}`;
}
