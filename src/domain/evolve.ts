import { type Duration, durationMs, type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import { type Job, JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { attemptEnded, attemptResumed, attemptStarted, lastEnded } from './attempts/evolve-attempts.js';
import type { JobEvent } from './events.js';
import { finished, interestOfRequest, joined, left, reprioritised } from './interests/interests.js';
import type { JobRecord } from './job.js';

/** The record after an event that was recorded at `revision` under an id. The event must be one that `decide` gave for the record. */
export function evolve(record: JobRecord | undefined, event: JobEvent, revision: number, id: string): JobRecord {
  if (event.$typeName === 'memoir.events.v1.JobRequested') return requested(event, revision, id);
  if (!record) throw new Error(`${event.$typeName} at revision ${revision} of a stream without JobRequested`);
  const job: Job = { ...record.job, revision };
  const next: JobRecord = { ...record, job, streamRevision: revision };
  switch (event.$typeName) {
    case 'memoir.events.v1.JobStarted':
      return { ...leased(next, event.lease, event.startedAt, revision), ...attemptStarted(record, event, job) };
    case 'memoir.events.v1.JobProgressed':
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      if (event.progress !== undefined) job.progress = event.progress;
      if (event.progressMessage !== undefined) job.progressMessage = event.progressMessage;
      return leased(next, event.lease, event.progressedAt, revision);
    case 'memoir.events.v1.JobCompleted':
      job.state = JobState.COMPLETE;
      job.output = event.output;
      job.log = event.log;
      job.outputV1 = event.outputV1;
      if (event.outputDigest) job.outputDigest = event.outputDigest;
      if (event.logDigest) job.logDigest = event.logDigest;
      if (event.ran) job.ran = event.ran;
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      setTime(job, 'finishedAt', event.completedAt);
      finished(job);
      return {
        ...released(next),
        ...lastEnded(
          record,
          {
            log: event.log,
            output: event.output,
            at: event.completedAt,
            logDigest: event.logDigest,
            outputDigest: event.outputDigest,
            ran: event.ran,
          },
          job,
        ),
      };
    case 'memoir.events.v1.JobFailed': {
      const { reason, message, log, output, fault, logDigest, outputDigest, ran } = event;
      job.state = JobState.FAILED;
      job.failureReason = reason;
      job.failureMessage = message;
      job.log = log;
      if (logDigest) job.logDigest = logDigest;
      if (ran) job.ran = ran;
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      setTime(job, 'finishedAt', event.failedAt);
      finished(job);
      return {
        ...released(next),
        ...lastEnded(
          record,
          { reason, message, log, output, fault, logDigest, outputDigest, ran, at: event.failedAt },
          job,
        ),
      };
    }
    case 'memoir.events.v1.JobCancelled':
      job.state = JobState.CANCELLED;
      job.cancelledBy = event.cancelledBy;
      setTime(job, 'cancelledAt', event.cancelledAt);
      finished(job);
      return {
        ...released(next),
        ...lastEnded(record, { reason: 'CANCELLED', at: event.cancelledAt }, job),
        cancelled: { cascadeFrom: event.cascadeFrom, cascade: event.cascade },
      };
    case 'memoir.events.v1.JobAttemptEnded':
      return { ...released(next), ...attemptEnded(record, event, revision, job) };
    case 'memoir.events.v1.JobResumed':
      return { ...leased(next, event.lease, event.resumedAt, revision), ...attemptResumed(record, event, job) };
    case 'memoir.events.v1.JobUpdated':
      if (event.description !== undefined) job.description = event.description;
      if (event.components) job.components = event.components.uuids;
      if (event.labels) job.labels = event.labels.values;
      return { ...next, interests: reprioritised(record.interests, event, job) };
    case 'memoir.events.v1.JobDeleted':
      return { ...next, deleted: true, deletedBy: event.deletedBy };
    case 'memoir.events.v1.JobJoined':
      return { ...next, interests: joined(record.interests, event, id, revision, job) };
    case 'memoir.events.v1.JobLeft':
      return { ...next, interests: left(record.interests, event, job) };
  }
}

/** The record after an event that no Memoir wrote, or that is malformed: nothing but its revision counts. */
export function passOver(record: JobRecord, revision: number): JobRecord {
  return { ...record, streamRevision: revision };
}

/** What is true of every job that was just requested. */
const fresh = {
  deleted: false,
  leaseMs: 0,
  leaseRevision: -1,
  attempt: undefined,
  earlier: [],
  backOff: undefined,
  cancelled: undefined,
  deletedBy: '',
} as const;

/**
 * The job of a request. All fields stand in one literal, since V8 keeps such an object in a ninth of the memory that it takes for what `create` gives of so
 * many fields, and makes, copies and reads it several times as fast.
 */
function requested(event: JobRequested, revision: number, id: string): JobRecord {
  const job: Job = {
    $typeName: JobSchema.typeName,
    uuid: event.uuid,
    owner: event.owner,
    repository: event.repository,
    script: event.script,
    scriptVersion: event.scriptVersion,
    suppliedScriptVersion: event.suppliedScriptVersion,
    scriptParameters: event.scriptParameters ?? {},
    scriptParametersOmitted: false,
    state: JobState.QUEUED,
    priority: event.priority,
    submitId: event.submitId,
    nondeterministic: event.nondeterministic,
    requireOutput: event.requireOutput,
    dockerImageLocator: event.dockerImageLocator,
    arvadosSdkVersion: event.arvadosSdkVersion,
    output: '',
    outputV1: '',
    log: '',
    components: event.components,
    labels: event.labels,
    requiredLabels: event.requiredLabels,
    description: event.description,
    cancelledBy: '',
    claimedBy: '',
    leaveLfsPointers: event.leaveLfsPointers ?? true,
    leaveSubmodules: event.leaveSubmodules ?? true,
    runNumber: event.runNumber,
    computationDigest: event.computationDigest,
    revision,
    failureReason: '',
    failureMessage: '',
    progressMessage: '',
    damaged: false,
    interestCount: 0,
    interests: [],
    attemptCount: 0,
    attempts: [],
    retryOf: event.retryOf,
    checkOf: event.checkOf,
    supersede: event.supersede,
    inputs: event.inputs,
    codePaths: event.codePaths,
    codeDigest: event.codeDigest,
    secrets: event.secrets,
  };
  if (event.requestedAt) job.createdAt = event.requestedAt;
  if (event.runtimeConstraints) job.runtimeConstraints = event.runtimeConstraints;
  if (event.unhashedParameters) job.unhashedParameters = event.unhashedParameters;
  if (event.retry) job.retry = event.retry;
  if (event.limits) job.limits = event.limits;
  const interests = interestOfRequest(event, id, revision, job);
  return { ...fresh, job, interests, streamRevision: revision, requestDigest: event.requestDigest };
}

function leased(
  record: JobRecord,
  lease: Duration | undefined,
  from: Timestamp | undefined,
  revision: number,
): JobRecord {
  const leaseMs = lease ? durationMs(lease) : 0;
  setTime(record.job, 'leaseExpiresAt', from && timestampFromMs(timestampMs(from) + leaseMs));
  return { ...record, leaseMs, leaseRevision: revision };
}

function released(record: JobRecord): JobRecord {
  delete record.job.leaseExpiresAt;
  return { ...record, leaseMs: 0, leaseRevision: -1 };
}

type JobTime = 'startedAt' | 'finishedAt' | 'cancelledAt' | 'leaseExpiresAt';

function setTime(job: Job, field: JobTime, time: Timestamp | undefined): void {
  if (time) job[field] = time;
}
