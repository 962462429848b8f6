import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs, type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  ComponentsSchema,
  JobCancelledSchema,
  JobCompletedSchema,
  JobDeletedSchema,
  JobFailedSchema,
  JobProgressedSchema,
  type JobRequested,
  JobStartedSchema,
  JobUpdatedSchema,
  LabelsSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { type Job, JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type Attempt, attemptOf, isSameClaim, isSameEnd, unheard } from './attempt.js';
import type {
  CancelCommand,
  Command,
  CompleteCommand,
  FailCommand,
  HeartbeatCommand,
  UpdateCommand,
} from './commands.js';
import { MemoirError } from './errors.js';
import type { JobEvent } from './events.js';
import { isTooDeep } from './json.js';

/** A job as its stream tells it. */
export type JobRecord = {
  /** The job as clients see it. */
  readonly job: Job;
  readonly deleted: boolean;
  /** Revision of the last event of its stream: not before `job.revision`, and behind it where others wrote into the stream. */
  readonly streamRevision: number;
  /** Length of the lease in milliseconds; 0 unless running. */
  readonly leaseMs: number;
  /** Revision of the event from which the lease runs; -1 unless running. */
  readonly leaseRevision: number;
  /** Digest of the request that made the job, if it had a submit_id; empty otherwise. */
  readonly requestDigest: string;
  /** The last attempt to run the job; undefined if it was never claimed. */
  readonly attempt: Attempt | undefined;
  /** How it was cancelled; undefined unless it was. Who did is in the job. */
  readonly cancelled: Pick<CancelCommand, 'cascadeFrom' | 'cascade'> | undefined;
  /** Principal that deleted it; empty if nobody did, or an older version recorded it. */
  readonly deletedBy: string;
};

/** The state's name as messages spell it: `Queued`, `Running`, `Complete`, `Failed`, `Cancelled`. */
export function stateName(state: JobState): string {
  const name = JobState[state] ?? String(state);
  return name.charAt(0) + name.slice(1).toLowerCase();
}

/** Whether nothing can leave the state. */
export function isFinished(state: JobState): boolean {
  return state === JobState.COMPLETE || state === JobState.FAILED || state === JobState.CANCELLED;
}

/**
 * What a command makes of a job: the events to record, none if it changes nothing, or why it is refused. Pure: the outcome
 * depends on the arguments alone. `record` is undefined for a job that does not exist.
 */
export function decide(record: JobRecord | undefined, command: Command): readonly JobEvent[] | MemoirError {
  if (command.kind === 'request') {
    if (record) return new MemoirError('ALREADY_EXISTS', 'JOB_EXISTS', `job ${record.job.uuid} exists already`);
    return [command.requested];
  }
  if (!record || (record.deleted && !deletedBefore(record, command))) {
    return new MemoirError('NOT_FOUND', 'JOB_NOT_FOUND', 'there is no such job');
  }
  const { job } = record;
  const at = timestampFromMs(command.now);
  switch (command.kind) {
    case 'start':
      if (isSameClaim(record, command)) return [];
      if (job.state !== JobState.QUEUED) return refused(job, JobState.RUNNING);
      if (job.scriptParameters && isTooDeep(job.scriptParameters)) return unreadable(job);
      return [
        create(JobStartedSchema, {
          worker: command.worker,
          lease: durationFromMs(command.leaseMs),
          startedAt: at,
          attempt: (record.attempt?.number ?? 0) + 1,
          claimTokenDigest: command.tokenDigest ?? '',
          claimTokenMade: command.tokenMade ?? false,
          workerName: command.workerName ?? '',
        }),
      ];
    case 'heartbeat':
      return unheard(record, command) ?? (job.state === JobState.RUNNING ? progressed(record, command, at) : []);
    case 'complete':
    case 'fail':
      return ended(record, command, at);
    case 'expire_lease': {
      if (job.state !== JobState.RUNNING || record.leaseRevision !== command.leaseRevision) return [];
      const attempt = record.attempt?.number ?? 1;
      return [create(JobFailedSchema, { reason: 'LEASE_EXPIRED', message: expiry(record), failedAt: at, attempt })];
    }
    case 'cancel':
      if (job.state === JobState.CANCELLED) return [];
      if (isFinished(job.state)) return refused(job, JobState.CANCELLED);
      return [
        create(JobCancelledSchema, {
          cancelledBy: command.principal,
          cascadeFrom: command.cascadeFrom,
          cascade: command.cascade ?? false,
          cancelledAt: at,
        }),
      ];
    case 'update':
      return updated(job, command, at);
    case 'delete':
      if (record.deleted) return [];
      if (!isFinished(job.state)) {
        return new MemoirError(
          'FAILED_PRECONDITION',
          'JOB_NOT_FINISHED',
          `job ${job.uuid} is ${stateName(job.state)} and can be deleted only when it has finished; cancel it first`,
          { metadata: { uuid: job.uuid, state: stateName(job.state) } },
        );
      }
      return [create(JobDeletedSchema, { deletedAt: at, deletedBy: command.principal })];
  }
}

/** The record after an event that was recorded at `revision`. The event must be one that `decide` gave for the record. */
export function evolve(record: JobRecord | undefined, event: JobEvent, revision: number): JobRecord {
  if (event.$typeName === 'memoir.events.v1.JobRequested') return requested(event, revision);
  if (!record) throw new Error(`${event.$typeName} at revision ${revision} of a stream without JobRequested`);
  const job: Job = { ...record.job, revision };
  const next: JobRecord = { ...record, job, streamRevision: revision };
  switch (event.$typeName) {
    case 'memoir.events.v1.JobStarted':
      job.state = JobState.RUNNING;
      job.claimedBy = event.worker;
      setTime(job, 'startedAt', event.startedAt);
      return {
        ...lease(next, event.lease ? durationMs(event.lease) : 0, event.startedAt, revision),
        attempt: attemptOf(event),
      };
    case 'memoir.events.v1.JobProgressed':
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      if (event.progress !== undefined) job.progress = event.progress;
      if (event.progressMessage !== undefined) job.progressMessage = event.progressMessage;
      return lease(next, event.lease ? durationMs(event.lease) : 0, event.progressedAt, revision);
    case 'memoir.events.v1.JobCompleted':
      job.state = JobState.COMPLETE;
      job.output = event.output;
      job.log = event.log;
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      setTime(job, 'finishedAt', event.completedAt);
      return released(next);
    case 'memoir.events.v1.JobFailed':
      job.state = JobState.FAILED;
      job.failureReason = event.reason;
      job.failureMessage = event.message;
      job.log = event.log;
      if (event.tasksSummary) job.tasksSummary = event.tasksSummary;
      setTime(job, 'finishedAt', event.failedAt);
      return released(next);
    case 'memoir.events.v1.JobCancelled':
      job.state = JobState.CANCELLED;
      job.cancelledBy = event.cancelledBy;
      setTime(job, 'cancelledAt', event.cancelledAt);
      return { ...released(next), cancelled: { cascadeFrom: event.cascadeFrom, cascade: event.cascade } };
    case 'memoir.events.v1.JobUpdated':
      if (event.priority !== undefined) job.priority = event.priority;
      if (event.description !== undefined) job.description = event.description;
      if (event.components) job.components = event.components.uuids;
      if (event.labels) job.labels = event.labels.values;
      return next;
    case 'memoir.events.v1.JobDeleted':
      return { ...next, deleted: true, deletedBy: event.deletedBy };
    case 'memoir.events.v1.JobAttemptEnded':
    case 'memoir.events.v1.JobResumed':
    case 'memoir.events.v1.JobJoined':
    case 'memoir.events.v1.JobLeft':
      // Recorded by nothing yet.
      return next;
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
  cancelled: undefined,
  deletedBy: '',
} as const;

function requested(event: JobRequested, revision: number): JobRecord {
  const job = create(JobSchema, {
    uuid: event.uuid,
    owner: event.owner,
    repository: event.repository,
    script: event.script,
    scriptVersion: event.scriptVersion,
    suppliedScriptVersion: event.suppliedScriptVersion,
    scriptParameters: event.scriptParameters ?? {},
    state: JobState.QUEUED,
    priority: event.priority,
    submitId: event.submitId,
    nondeterministic: event.nondeterministic,
    requireOutput: event.requireOutput,
    dockerImageLocator: event.dockerImageLocator,
    arvadosSdkVersion: event.arvadosSdkVersion,
    components: event.components,
    labels: event.labels,
    requiredLabels: event.requiredLabels,
    description: event.description,
    leaveLfsPointers: event.leaveLfsPointers ?? true,
    leaveSubmodules: event.leaveSubmodules ?? true,
    runNumber: event.runNumber,
    computationDigest: event.computationDigest,
    revision,
    ...(event.runtimeConstraints && { runtimeConstraints: event.runtimeConstraints }),
    ...(event.requestedAt && { createdAt: event.requestedAt }),
  });
  return { ...fresh, job, streamRevision: revision, requestDigest: event.requestDigest };
}

function lease(record: JobRecord, leaseMs: number, from: Timestamp | undefined, revision: number): JobRecord {
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

function progressed(record: JobRecord, command: HeartbeatCommand, at: Timestamp): readonly JobEvent[] {
  const { tasksSummary, progress, progressMessage } = command;
  return [
    create(JobProgressedSchema, {
      lease: durationFromMs(command.leaseMs ?? record.leaseMs),
      progressedAt: at,
      attempt: record.attempt?.number ?? 1,
      ...(tasksSummary && { tasksSummary }),
      ...(progress !== undefined && { progress }),
      ...(progressMessage !== undefined && { progressMessage }),
    }),
  ];
}

/** The end of a run, at most once: the same report again changes nothing. */
function ended(
  record: JobRecord,
  command: CompleteCommand | FailCommand,
  at: Timestamp,
): readonly JobEvent[] | MemoirError {
  const { job } = record;
  const foreign = unheard(record, command);
  if (job.state !== JobState.RUNNING) {
    if (isSameEnd(record, command)) return [];
    if (foreign?.reason === 'ATTEMPT_ENDED') return foreign;
    return refused(job, command.kind === 'complete' ? JobState.COMPLETE : JobState.FAILED);
  }
  if (foreign) return foreign;
  const { log, tasksSummary } = command;
  const common = { log, attempt: record.attempt?.number ?? 1, ...(tasksSummary && { tasksSummary }) };
  if (command.kind === 'complete') {
    return [create(JobCompletedSchema, { ...common, output: command.output, completedAt: at })];
  }
  const { reason, message } = command;
  return [create(JobFailedSchema, { ...common, reason, message, failedAt: at })];
}

function updated(job: Job, command: UpdateCommand, at: Timestamp): readonly JobEvent[] | MemoirError {
  const { expectedRevision, priority, description, components, labels } = command;
  if (expectedRevision !== undefined && expectedRevision !== job.revision) {
    return new MemoirError(
      'ABORTED',
      'REVISION_MISMATCH',
      `job ${job.uuid} is at revision ${job.revision}, not at ${expectedRevision}`,
      { metadata: { uuid: job.uuid, revision: String(job.revision), expected_revision: String(expectedRevision) } },
    );
  }
  if (priority !== undefined && isFinished(job.state)) {
    return new MemoirError(
      'FAILED_PRECONDITION',
      'JOB_FINISHED',
      `job ${job.uuid} is ${stateName(job.state)}: its priority decides nothing any more and cannot be changed`,
      { field: 'job.priority', metadata: { uuid: job.uuid, state: stateName(job.state) } },
    );
  }
  return [
    create(JobUpdatedSchema, {
      updatedAt: at,
      ...(priority !== undefined && { priority }),
      ...(description !== undefined && { description }),
      ...(components !== undefined && { components: create(ComponentsSchema, { uuids: { ...components } }) }),
      ...(labels !== undefined && { labels: create(LabelsSchema, { values: { ...labels } }) }),
    }),
  ];
}

/** Whether a command is the deletion of a deleted job, repeated by whoever deleted it. */
export function deletedBefore({ deleted, deletedBy }: JobRecord, command: Command): boolean {
  return deleted && command.kind === 'delete' && deletedBy !== '' && deletedBy === command.principal;
}

/** A job of an earlier version's log that not every worker could read. Without its parameters it would be another job. */
function unreadable({ uuid }: Job): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'PARAMETERS_TOO_DEEP',
    `job ${uuid} has script_parameters that are nested deeper than all workers can read; cancel it and request it with flatter ones`,
  );
}

function refused(job: Job, wanted: JobState): MemoirError {
  const [from, to] = [stateName(job.state), stateName(wanted)];
  return new MemoirError('FAILED_PRECONDITION', 'WRONG_STATE', `job ${job.uuid} is ${from} and cannot become ${to}`, {
    metadata: { uuid: job.uuid, state: from, wanted_state: to },
  });
}

function expiry(record: JobRecord): string {
  return `worker ${record.job.claimedBy} sent no heartbeat within its lease of ${record.leaseMs / 1000} s`;
}
