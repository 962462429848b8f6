import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type JobRequested,
  type JobRetryIntended,
  JobRetryIntendedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { Input } from '../../../gen/memoir/jobs/v1/input_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { codePathsText } from '../../domain/code/code-paths.js';
import { jcsDigest, jobUuid } from '../../domain/computation.js';
import { MemoirError, quote, unknownRepository } from '../../domain/errors.js';
import { type JobRecord, stateName } from '../../domain/job.js';
import type { Shares } from '../../domain/placement/shares.js';
import { labelsText } from '../../domain/reuse.js';
import { usedRules } from '../../domain/rule-sets.js';
import { secretsText } from '../../domain/secrets/grants.js';
import { jobStream, retryStream } from '../../domain/streams.js';
import { judged, lastFirst } from '../../eventstore/foreign.js';
import { type Position, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { contended, maxAttempts } from '../contention.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { keyedLock } from '../keyed-lock.js';
import { denied } from '../reading/permit.js';
import { requestedAgain } from '../requested-again.js';
import { answerEvent, recordAnswer } from './answer-with-job.js';
import { checkBounds } from './check-bounds.js';
import { createdAsRetry, reused } from './decision-message.js';
import type { FindReusable, Found } from './find-reusable.js';
import type { NamedInputs } from './inputs.js';
import { needsSharedRuns } from './needs-shared-runs.js';
import { checkMaySupersede } from './options/superseding.js';
import type { Held } from './quotas.js';
import { isUngranted } from './secrets.js';
import type { Wanted } from './wanted.js';

/** What a job is run again by. */
export type Retried = {
  /** Uuid of the job that failed or was cancelled. */
  readonly retryOf: string;
  readonly job: Job;
  /** True if somebody asked for it before, or for the same work. */
  readonly reused: boolean;
  /** True if it is another run of the same work, which does not run the old job again. */
  readonly sameWork: boolean;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
};

/**
 * Runs a job that failed or was cancelled again, by the next run of the same computation; where another run of the same work may be the answer as of
 * CreateJob, unfinished or complete, by that. `priority` is that of the old job unless given.
 * @throws MemoirError NOT_FOUND if the caller may not know of the job; PERMISSION_DENIED if it may not request jobs of the repository, or not ask for so much;
 * INVALID_ARGUMENT if that is no longer configured; RESOURCE_EXHAUSTED if as many jobs of the caller are queued as may be; FAILED_PRECONDITION if the job is in another state, what ran it again was deleted, or log format 4 may not be recorded
 */
export type RetryJob = (caller: Caller, uuid: string, priority?: number) => Promise<Retried>;

type Run = { readonly runNumber: number; readonly uuid: string };

/** By which job one is run again, and where that was recorded. */
type Intention = { readonly event: JobRetryIntended; readonly revision: number };

/**
 * Makes the use case RetryJob. It is once only by the job's stream of intentions: the first is appended to a stream that must not exist and
 * names the run, whose stream must not exist either. Whoever finds an intention whose job is not there makes that job; if the run has become
 * that of another request meanwhile, a second intention follows the first, and so on. So of all runs that were intended one is the retry.
 * None is intended while another run is the same work: that is the answer, and is joined if it is unfinished. The number of the run is taken with
 * the candidates, so that one which another request makes in between collides.
 */
export function jobRetrier(context: JobsContext, find: FindReusable): RetryJob {
  const { store, streams, written, edge, shares } = context;
  const serially = keyedLock();

  async function retryJob(caller: Caller, uuid: string, priority?: number): Promise<Retried> {
    const { job } = await streams.read(caller, uuid);
    checkRetriable(context, caller, job);
    const asked = priority ?? job.priority;
    checkBounds(caller, { ...job, priority: asked });
    return serially(uuid, () => retryOnce(caller, job, asked));
  }

  async function retryOnce(caller: Caller, old: Job, priority: number): Promise<Retried> {
    let own = false;
    let held: Held | undefined;
    try {
      for (let i = 0; i < maxAttempts; i++) {
        const intention = await last(old.uuid);
        const done = intention && (await carriedOut(caller, old, intention));
        if (done) {
          if (own) held?.end(done.position);
          return { ...done, retryOf: old.uuid, reused: !own, sameWork: false };
        }
        // Runs of other servers too.
        await written.catchUp(await store.end());
        const wanted = wantedAgain(context, caller, old, priority);
        const found = await find(wanted);
        if (found.record) {
          const other = await answerWith(wanted, found, found.record);
          if (other) return { ...other, retryOf: old.uuid, reused: true, sameWork: true };
          continue;
        }
        const runNumber = Math.max(found.lastRun, intention?.event.runNumber ?? 0) + 1;
        const run = { runNumber, uuid: jobUuid(old.computationDigest, runNumber) };
        held?.end();
        // What is intended is carried out, whoever does it.
        held = context.quotas.hold(caller.principal, run.uuid);
        own = await intend(caller, old, priority, run, intention);
      }
      throw contended('others request the same computation');
    } finally {
      held?.end();
    }
  }

  async function last(uuid: string): Promise<Intention | undefined> {
    let revision: number | undefined;
    for await (const recorded of lastFirst(store, retryStream(uuid))) {
      revision ??= recorded.revision;
      const { event } = judged(recorded);
      if (event?.$typeName === 'memoir.events.v1.JobRetryIntended' && event.retryOf === uuid) {
        return { event, revision };
      }
    }
    return undefined;
  }

  /** The job that was intended, made if it was not yet; undefined if its run is another request's. */
  async function carriedOut(
    caller: Caller,
    old: Job,
    { event }: Intention,
  ): Promise<Pick<Retried, 'job' | 'position'> | undefined> {
    let record = await streams.load(event.uuid);
    if (!record) {
      try {
        const { record: made, position } = await streams.request(caller, retryRequest(old, event, shares));
        const { uuid, repository, scriptVersion: commit } = made.job;
        context.keepCommit?.({ uuid, repository, commit });
        return { job: made.job, position };
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision)) throw error;
        record = await streams.load(event.uuid);
      }
    }
    if (record?.job.retryOf !== old.uuid) return undefined;
    if (record.deleted) throw retryDeleted(old.uuid, event.uuid);
    return { job: record.job, position: await store.end() };
  }

  /** Answers with another run of the same work; undefined if that is no longer as it was decided on. */
  async function answerWith(
    wanted: Wanted,
    { decision: found, basis }: Found,
    record: JobRecord,
  ): Promise<Pick<Retried, 'job' | 'position'> | undefined> {
    const decision = reused(record.job, found, wanted.resolutions);
    const event = answerEvent({ wanted, digest: '', basis, decision, record, now: edge.now() }, context);
    const recorded = await recordAnswer(context, wanted.caller, event, record);
    return recorded && { job: recorded.record.job, position: recorded.position };
  }

  /** Records by which job it is to be run again; false if another server did meanwhile. */
  async function intend(
    caller: Caller,
    old: Job,
    priority: number,
    run: Run,
    after: Intention | undefined,
  ): Promise<boolean> {
    const event = create(JobRetryIntendedSchema, {
      retryOf: old.uuid,
      ...run,
      owner: caller.principal,
      priority,
      requestedAt: timestampFromMs(edge.now()),
    });
    // What could not be carried out is not intended either.
    store.checkSize?.(jobStream(event.uuid), [eventOfCall(context, caller, retryRequest(old, event, shares))]);
    try {
      const expected = after?.revision ?? 'no_stream';
      await store.append(retryStream(old.uuid), expected, [eventOfCall(context, caller, event)]);
      return true;
    } catch (error) {
      if (error instanceof WrongExpectedRevision) return false;
      throw error;
    }
  }

  return retryJob;
}

function checkRetriable(context: JobsContext, caller: Caller, job: Job): void {
  const { sharesRuns, repositories } = context;
  const { uuid, repository, state } = job;
  if (!caller.access.submits(repository)) throw denied(caller, `request jobs of repository ${quote(repository)}`);
  if (state !== JobState.FAILED && state !== JobState.CANCELLED) {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'JOB_NOT_RETRIABLE',
      `job ${uuid} is ${stateName(state)}: only one that is Failed or Cancelled can be run again`,
      { field: 'uuid', metadata: { state: stateName(state) } },
    );
  }
  if (job.checkOf !== '') {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'JOB_NOT_RETRIABLE',
      `job ${uuid} is a second run to compare with another: ask for a new one instead`,
      { field: 'uuid' },
    );
  }
  if (!repositories.names().includes(repository)) throw unknownRepository(repository);
  if (job.supersede) checkMaySupersede(context, caller, repository);
  if (!sharesRuns) throw needsSharedRuns('to run a job again');
}

/** What runs the job again, as a request that other runs may answer: with its commit, image and SDK as they were resolved then. */
function wantedAgain(
  context: Pick<JobsContext, 'reuseIfOutputsDiffer' | 'ownUnfinishedOnly' | 'trustUnstatedImages' | 'grants'>,
  caller: Caller,
  old: Job,
  priority: number,
): Wanted {
  const { principal } = caller;
  const { repository, script, scriptVersion: commit, scriptParameters = {} } = old;
  const { dockerImageLocator, arvadosSdkVersion, leaveLfsPointers, leaveSubmodules } = old;
  const request = create(CreateJobRequestSchema, {
    repository,
    script,
    scriptParameters,
    scriptVersion: commit,
    priority,
    labels: old.labels,
    requiredLabels: old.requiredLabels,
    ...(old.runtimeConstraints && { runtimeConstraints: old.runtimeConstraints }),
    ...(old.retry && { retry: old.retry }),
    ...(old.limits && { limits: old.limits }),
  });
  return {
    caller,
    request,
    commit,
    dockerImageLocator,
    arvadosSdkVersion,
    digests: { parameters: jcsDigest(scriptParameters), computation: old.computationDigest },
    ...(old.codePaths.length > 0 && { code: { paths: old.codePaths, entries: [], digest: old.codeDigest } }),
    ...(old.secrets.length > 0 && { secrets: old.secrets }),
    ...(old.inputs.length > 0 && { inputs: { texts: old.inputs.flatMap(textOf), settled: true } }),
    resolutions: [],
    terms: {
      rules: usedRules,
      principal,
      acceptsCommit: (candidate) => candidate === commit,
      acceptedCommits: commit,
      dockerImageLocator,
      arvadosSdkVersion,
      leaveLfsPointers,
      leaveSubmodules,
      reuseIfOutputsDiffer: context.reuseIfOutputsDiffer,
      requiredLabels: labelsText(old.requiredLabels),
      noChecks: true,
      ...(old.codePaths.length > 0 && { codePaths: codePathsText(old.codePaths), codeDigest: old.codeDigest }),
      secrets: secretsText(old.secrets),
      ...(isUngranted(context, principal, old) && { secretsUngranted: true }),
      ...(old.requireOutput && { outputRequired: true }),
      ...(old.supersede && { supersede: true }),
      ...(context.ownUnfinishedOnly && { ownUnfinishedOnly: true }),
      ...(!context.trustUnstatedImages && { imagesStated: true }),
      ...(old.runtimeConstraints && {
        platform: old.runtimeConstraints.platform,
        sandbox: old.runtimeConstraints.sandbox,
      }),
    },
  };
}

/** An input that is recorded, as a text that names content. */
function textOf({ pointer, content }: Input): NamedInputs['texts'] {
  return content ? [{ pointer, hash: content.hash }] : [];
}

/** The request that runs a job again, by the run that is intended. Its components are its own to start. */
function retryRequest(
  old: Job,
  { uuid, runNumber, owner, priority, requestedAt }: JobRetryIntended,
  shares: Shares,
): JobRequested {
  return requestedAgain(old, {
    uuid,
    owner,
    runNumber,
    priority,
    turnWeight: shares.ofOwner(owner).weight,
    description: old.description,
    labels: old.labels,
    retryOf: old.uuid,
    supersede: old.supersede,
    decision: createdAsRetry(uuid, old.runNumber, stateName(old.state)),
    ...(requestedAt && { requestedAt }),
    ...(old.limits && { limits: old.limits }),
  });
}

function retryDeleted(uuid: string, by: string): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', 'JOB_DELETED', `job ${by}, which ran job ${uuid} again, was deleted`, {
    field: 'uuid',
    metadata: { uuid: by },
  });
}
