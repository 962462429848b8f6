import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  ComponentsSchema,
  JobCancelledSchema,
  JobDeletedSchema,
  JobProgressedSchema,
  JobResumedSchema,
  JobStartedSchema,
  JobUpdatedSchema,
  LabelsSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import {
  type Attempt,
  canTakeBack,
  isSameClaim,
  isSameEnd,
  leaseExpired,
  runLimit,
  unheard,
  usedToken,
} from './attempt.js';
import { type BackOff, backingOff } from './attempts/back-off.js';
import { completion, endedByServer, failure, refusedResult } from './attempts/end-attempt.js';
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
import { isShared, join, leave, reprioritise, wantedByOthers } from './interests/decide-interests.js';
import type { Interests } from './interests/interests.js';
import { isFinished, stateName, wrongState } from './job-state.js';
import { isTooDeep } from './json.js';
import { recordedOffer } from './placement/recorded-offer.js';
import { unfitting } from './placement/unfitting.js';
import { ranElsewhere, ranElsewhereReason } from './ran/ran-elsewhere.js';

export { isFinished, stateName } from './job-state.js';

/** A job as its stream tells it: what `evolve` makes of its events. */
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
  /** The attempts before the last one, the first one first. */
  readonly earlier: readonly Attempt[];
  /** How long the job is given to nobody after its last attempt ended, in milliseconds, and the revision of that event; undefined if not. */
  readonly backOff: BackOff | undefined;
  /** Who wants it. */
  readonly interests: Interests;
  /** How it was cancelled; undefined unless it was. Who did is in the job. */
  readonly cancelled: Pick<CancelCommand, 'cascadeFrom' | 'cascade'> | undefined;
  /** Principal that deleted it; empty if nobody did, or an older version recorded it. */
  readonly deletedBy: string;
};

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
    case 'start': {
      if (isSameClaim(record, command)) return [];
      if (job.state !== JobState.QUEUED) return wrongState(job, JobState.RUNNING);
      if (record.backOff && record.backOff.revision !== command.waited) return backingOff(job, record.backOff);
      if (job.scriptParameters && isTooDeep(job.scriptParameters)) return unreadable(job);
      const unfit = usedToken(record, command) ?? unfitting(job, command.offering, () => interestedIn(record));
      if (unfit) return unfit;
      return [
        create(JobStartedSchema, {
          worker: command.worker,
          lease: durationFromMs(command.leaseMs),
          startedAt: at,
          attempt: (record.attempt?.number ?? 0) + 1,
          claimTokenDigest: command.tokenDigest ?? '',
          claimTokenMade: command.tokenMade ?? false,
          workerName: command.workerName ?? '',
          ...(command.offering?.has && { offer: recordedOffer(command.offering.has, job.secrets) }),
        }),
      ];
    }
    case 'heartbeat':
      if (canTakeBack(record, command)) {
        const back = resumed(record, command.leaseMs, at);
        return [back, ...(hasNews(command) ? progressed(record, command, at) : [])];
      }
      return unheard(record, command) ?? (job.state === JobState.RUNNING ? progressed(record, command, at) : []);
    case 'complete':
    case 'fail':
      return ended(record, command, at);
    case 'expire_lease': {
      if (job.state !== JobState.RUNNING || record.leaseRevision !== command.leaseRevision) return [];
      const end = { fault: Fault.WORKER, reason: leaseExpired, message: expiry(record) };
      return [endedByServer(record, end, at, command.chance)];
    }
    case 'expire_run': {
      const { attempt } = record;
      if (job.state !== JobState.RUNNING || attempt?.number !== command.attempt || !job.limits?.run) return [];
      const message = `the attempt took longer than its limit of ${durationMs(job.limits.run) / 1_000} s`;
      return [endedByServer(record, { fault: Fault.SCRIPT, reason: runLimit, message }, at, command.chance)];
    }
    case 'cancel':
      if (job.state === JobState.CANCELLED) return [];
      if (isFinished(job.state)) return wrongState(job, JobState.CANCELLED);
      if (command.unlessShared && isShared(record.interests, command.principal)) return wantedByOthers(record);
      return [
        create(JobCancelledSchema, {
          cancelledBy: command.principal,
          cascadeFrom: command.cascadeFrom,
          cascade: command.cascade ?? false,
          reason: command.reason ?? '',
          cancelledAt: at,
        }),
      ];
    case 'update':
      return updated(record, command, at);
    case 'join':
      return join(record, command);
    case 'leave':
      return leave(record, command, at);
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

/** Everybody who wants a job, each once. */
export function interestedIn({ interests }: Pick<JobRecord, 'interests'>): readonly string[] {
  return [...new Set(interests.standing.map(({ principal }) => principal))];
}

/** Whether a heartbeat says more than that the worker is there. */
function hasNews({ tasksSummary, progress, progressMessage }: HeartbeatCommand): boolean {
  return tasksSummary !== undefined || progress !== undefined || progressMessage !== undefined;
}

function progressed(record: JobRecord, command: HeartbeatCommand, at: Timestamp): readonly JobEvent[] {
  const { tasksSummary, progress, progressMessage } = command;
  return [
    create(JobProgressedSchema, {
      lease: durationFromMs(command.leaseMs ?? (record.leaseMs || (record.attempt?.leaseMs ?? 0))),
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
  const elsewhere =
    command.kind === 'complete' && command.imageHash !== undefined
      ? ranElsewhere(job, command.ran, command.imageHash)
      : undefined;
  if (command.kind === 'complete' && elsewhere === undefined && canTakeBack(record, command)) {
    return [resumed(record, undefined, at), completion(record, command, at)];
  }
  const foreign = unheard(record, command);
  if (foreign || job.state !== JobState.RUNNING) {
    if (isSameEnd(record, command)) return [];
    if (foreign?.reason === 'ATTEMPT_ENDED' || (foreign && job.state === JobState.RUNNING)) return foreign;
    return wrongState(job, command.kind === 'complete' ? JobState.COMPLETE : JobState.FAILED);
  }
  if (command.kind === 'fail') return [failure(record, command, at)];
  if (elsewhere === undefined) return [completion(record, command, at)];
  const end = { fault: Fault.WORKER, reason: ranElsewhereReason, message: elsewhere };
  return [refusedResult(record, command, end, at)];
}

/** That the attempt which had ended goes on. */
function resumed({ attempt }: JobRecord, leaseMs: number | undefined, at: Timestamp): JobEvent {
  return create(JobResumedSchema, {
    attempt: attempt?.number ?? 1,
    lease: durationFromMs(leaseMs ?? attempt?.leaseMs ?? 0),
    resumedAt: at,
  });
}

function updated(record: JobRecord, command: UpdateCommand, at: Timestamp): readonly JobEvent[] | MemoirError {
  const { job } = record;
  const { expectedRevision, priority, description, components, labels, principal = '', whose } = command;
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
  const own = priority === undefined || !whose ? [] : reprioritise(record, { principal, ...whose, priority }, at);
  if (own instanceof MemoirError) return own;
  const whole = create(JobUpdatedSchema, {
    updatedAt: at,
    updatedBy: principal,
    ...(priority !== undefined && { priority }),
  });
  const [first = whole, ...others] = own;
  if (description !== undefined) first.description = description;
  if (components !== undefined) first.components = create(ComponentsSchema, { uuids: { ...components } });
  if (labels !== undefined) first.labels = create(LabelsSchema, { values: { ...labels } });
  return [first, ...others];
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

function expiry(record: JobRecord): string {
  return `worker ${record.job.claimedBy} sent no heartbeat within its lease of ${record.leaseMs / 1000} s`;
}
