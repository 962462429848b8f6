import { equals } from '@bufbuild/protobuf';
import { durationMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import type { JobStarted } from '../../gen/memoir/events/v1/events_pb.js';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Digest } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { type Job, JobState, TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../gen/memoir/jobs/v1/ran_pb.js';
import type { CompleteCommand, FailCommand, Speaker } from './commands.js';
import { MemoirError } from './errors.js';

/** An execution of a job by a worker, from its claim on. */
export type Attempt = {
  /** From 1. */
  readonly number: number;
  /** Principal of the worker. */
  readonly worker: string;
  /** What the worker calls itself beside its principal. */
  readonly workerName: string;
  /** SHA-256 of the claim token, in hexadecimal digits; empty if an older version recorded the claim. */
  readonly tokenDigest: string;
  /** Whether the server made the token, so that calls without one speak for the attempt too. */
  readonly tokenMade: boolean;
  /** Length of the lease that it was claimed with, in milliseconds. */
  readonly leaseMs: number;
  readonly startedAt: Timestamp | undefined;
  /** How it ended; undefined while it runs. */
  readonly ended: AttemptEnd | undefined;
};

/** How an attempt ended. */
export type AttemptEnd = {
  readonly at: Timestamp | undefined;
  readonly fault: Fault;
  /** A stable word; empty if it ended well. */
  readonly reason: string;
  readonly message: string;
  readonly log: string;
  readonly output: string;
  /** What of these servers keep. */
  readonly logDigest?: Digest | undefined;
  readonly outputDigest?: Digest | undefined;
  /** What it ran in and what it took, as its worker stated. */
  readonly ran?: Ran | undefined;
  /** Whether the worker gave the job back in good order. */
  readonly givenBack: boolean;
};

/** A job and the attempts to run it: the last one, if there was one, and those before it, the first one first. */
export type Attempted = {
  readonly job: Job;
  readonly attempt: Attempt | undefined;
  readonly earlier: readonly Attempt[];
};

/** Why an attempt ended that no worker spoke for any more. */
export const leaseExpired = 'LEASE_EXPIRED';

/** Why an attempt ended that took longer than its job allows. */
export const runLimit = 'RUN_LIMIT';

/** The attempt that a claim began. */
export function attemptOf(event: JobStarted): Attempt {
  return {
    number: event.attempt || 1,
    worker: event.worker,
    workerName: event.workerName,
    tokenDigest: event.claimTokenDigest,
    tokenMade: event.claimTokenMade,
    leaseMs: event.lease ? durationMs(event.lease) : 0,
    startedAt: event.startedAt,
    ended: undefined,
  };
}

/** The attempts of a job, the first one first. */
export function attemptsOf({ attempt, earlier }: Pick<Attempted, 'attempt' | 'earlier'>): readonly Attempt[] {
  return attempt ? [...earlier, attempt] : earlier;
}

/**
 * The attempt that a worker speaks for, which may have ended: the last one of the same principal whose token the call carries, or that has
 * none to compare with, as where an older version recorded the claim, or the server made the token and the call carries none.
 */
function spokenFor(attempted: Attempted, { worker, tokenDigest }: Speaker): Attempt | undefined {
  return attemptsOf(attempted).findLast((one) => {
    if (one.worker !== worker) return false;
    if (one.tokenDigest === '' || one.tokenDigest === tokenDigest) return true;
    return tokenDigest === undefined && one.tokenMade;
  });
}

/**
 * Why a worker may not speak for the attempt that runs the job, or ran it last: another principal holds the job; the token is that of
 * another attempt, or is missing although the claim brought one; or the attempt has ended and the job is queued again.
 */
export function unheard(attempted: Attempted, speaker: Speaker): MemoirError | undefined {
  const { job, attempt } = attempted;
  const { worker, tokenDigest } = speaker;
  const own = spokenFor(attempted, speaker);
  if (own && own === attempt && job.state !== JobState.QUEUED) return undefined;
  if (!attempt || !attemptsOf(attempted).some((one) => one.worker === worker)) return notYours(job, worker);
  if (own) return attemptEnded(job, own, `attempt ${own.number} of job ${job.uuid} has ended${howEnded(own)}`);
  const why = tokenDigest === undefined ? 'carries no claim token' : 'carries the claim token of another';
  return attemptEnded(job, attempt, `this does not speak for attempt ${attempt.number} of job ${job.uuid}: it ${why}`);
}

/**
 * Whether a worker may take back the job that it lost: its attempt is the last one, ended since its lease ran out, and nobody claimed the
 * job since.
 */
export function canTakeBack(attempted: Attempted, speaker: Speaker): boolean {
  const { job, attempt } = attempted;
  if (job.state !== JobState.QUEUED || attempt?.ended?.reason !== leaseExpired) return false;
  return spokenFor(attempted, speaker) === attempt;
}

/** Whether a claim is the one that began the standing attempt, repeated. */
export function isSameClaim({ job, attempt }: Attempted, { worker, tokenDigest }: Speaker): boolean {
  return (
    job.state === JobState.RUNNING &&
    job.claimedBy === worker &&
    tokenDigest !== undefined &&
    attempt?.tokenDigest === tokenDigest
  );
}

/** The error for a claim whose token names an attempt that has ended, of any principal: a token names one attempt. Undefined otherwise. */
export function usedToken(attempted: Attempted, { tokenDigest }: Speaker): MemoirError | undefined {
  const { job } = attempted;
  if (tokenDigest === undefined) return undefined;
  const own = attemptsOf(attempted).findLast((one) => one.tokenDigest === tokenDigest);
  if (!own) return undefined;
  const what = `the claim token is that of attempt ${own.number} of job ${job.uuid}, which has ended`;
  return attemptEnded(job, own, `${what}${howEnded(own)}; make a new one for each claim`);
}

/**
 * Whether a report is the one that ended an attempt, repeated, whatever became of the job since. Counts of tasks that are not given
 * contradict none; those of an attempt that another followed are not compared.
 */
export function isSameEnd(attempted: Attempted, report: CompleteCommand | FailCommand): boolean {
  const own = spokenFor(attempted, report);
  if (!own?.ended) return false;
  return own === attempted.attempt &&
    attempted.job.state !== JobState.QUEUED &&
    attempted.job.state !== JobState.RUNNING
    ? isSameFinish(attempted, own.ended, report)
    : report.kind === 'fail' && isSameFailure(own.ended, report);
}

function isSameFinish({ job }: Attempted, end: AttemptEnd, report: CompleteCommand | FailCommand): boolean {
  const { tasksSummary } = report;
  if (tasksSummary && !(job.tasksSummary && equals(TasksSummarySchema, tasksSummary, job.tasksSummary))) return false;
  if (report.kind === 'fail') return job.state === JobState.FAILED && isSameFailure(end, report);
  return job.state === JobState.COMPLETE && job.output === report.output && job.log === report.log;
}

/** Whose fault it was is not compared where a version recorded it that could not tell. */
function isSameFailure(end: AttemptEnd, report: FailCommand): boolean {
  const { fault = Fault.UNSPECIFIED } = report;
  return (
    end.reason === report.reason &&
    end.log === report.log &&
    (end.fault === Fault.UNSPECIFIED || fault === Fault.UNSPECIFIED || end.fault === fault) &&
    // What is added to the message of the last one tells of the others.
    (end.message === report.message || end.message.startsWith(`${report.message}${earlierMark}`))
  );
}

/** Between the message of the attempt that failed a job and how those before it ended. */
export const earlierMark = '; before that, ';

function howEnded({ ended }: Attempt): string {
  return ended && ended.reason !== '' ? `: ${ended.reason}` : '';
}

function attemptEnded({ uuid }: Job, { number }: Attempt, message: string): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', 'ATTEMPT_ENDED', message, {
    metadata: { uuid, attempt: String(number) },
  });
}

function notYours(job: Job, worker: string): MemoirError {
  const holder = job.claimedBy === '' ? 'no worker' : 'another worker';
  return new MemoirError(
    'PERMISSION_DENIED',
    'NOT_YOUR_JOB',
    `job ${job.uuid} was claimed by ${holder}, not by ${worker}`,
    { metadata: { uuid: job.uuid } },
  );
}
