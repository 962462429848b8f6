import { equals } from '@bufbuild/protobuf';
import type { JobStarted } from '../../gen/memoir/events/v1/events_pb.js';
import { type Job, JobState, TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CompleteCommand, FailCommand, Speaker } from './commands.js';
import { MemoirError } from './errors.js';

/** An execution of a job by a worker, from its claim on. */
export type Attempt = {
  /** From 1. */
  readonly number: number;
  /** SHA-256 of the claim token, in hexadecimal digits; empty if an older version recorded the claim. */
  readonly tokenDigest: string;
  /** Whether the server made the token, so that calls without one speak for the attempt too. */
  readonly tokenMade: boolean;
};

/** A job and the last attempt to run it, if there was one. */
type Attempted = { readonly job: Job; readonly attempt: Attempt | undefined };

/** The attempt that a claim began. */
export function attemptOf({ attempt, claimTokenDigest, claimTokenMade }: JobStarted): Attempt {
  return { number: attempt || 1, tokenDigest: claimTokenDigest, tokenMade: claimTokenMade };
}

/**
 * Why a worker may not speak for the last attempt: another principal holds the job, or the token is that of another attempt, or is
 * missing although the claim brought one. Attempts that an older version recorded have no token to compare with.
 */
export function unheard({ job, attempt }: Attempted, { worker, tokenDigest }: Speaker): MemoirError | undefined {
  if (job.claimedBy !== worker || !attempt) return notYours(job, worker);
  if (attempt.tokenDigest === '' || attempt.tokenDigest === tokenDigest) return undefined;
  if (tokenDigest === undefined && attempt.tokenMade) return undefined;
  const why = tokenDigest === undefined ? 'carries no claim token' : 'carries the claim token of another';
  return new MemoirError(
    'FAILED_PRECONDITION',
    'ATTEMPT_ENDED',
    `this does not speak for attempt ${attempt.number} of job ${job.uuid}: it ${why}`,
    { metadata: { uuid: job.uuid, attempt: String(attempt.number) } },
  );
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

/** Whether a report is the one that ended the job, repeated. Counts of tasks that are not given contradict none. */
export function isSameEnd(attempted: Attempted, report: CompleteCommand | FailCommand): boolean {
  const { job } = attempted;
  if (unheard(attempted, report) || job.log !== report.log) return false;
  const { tasksSummary } = report;
  if (tasksSummary && !(job.tasksSummary && equals(TasksSummarySchema, tasksSummary, job.tasksSummary))) return false;
  if (report.kind === 'complete') return job.state === JobState.COMPLETE && job.output === report.output;
  return job.state === JobState.FAILED && job.failureReason === report.reason && job.failureMessage === report.message;
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
