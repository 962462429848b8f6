import { create } from '@bufbuild/protobuf';
import type { JobAttemptEnded, JobResumed, JobStarted } from '../../../gen/memoir/events/v1/events_pb.js';
import { Fault, MinimaSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type Attempt, type AttemptEnd, type Attempted, attemptOf, attemptsOf } from '../attempt.js';
import { attemptMessage } from './attempt-message.js';
import { type BackOff, backOffOf } from './back-off.js';
import { leastRamMb } from './retry.js';

// What events make of the attempts of a job. Each gives the new attempts, and changes `job`, a copy that nobody else has, to what clients
// are told.

/** What a record holds of attempts. */
type Attempts = Pick<Attempted, 'attempt' | 'earlier'> & { readonly backOff: BackOff | undefined };

/** A claim begins another attempt. */
export function attemptStarted(before: Attempted, event: JobStarted, job: Job): Attempts {
  job.state = JobState.RUNNING;
  job.claimedBy = event.worker;
  if (event.startedAt) job.startedAt = event.startedAt;
  // They tell of the attempt before.
  delete job.tasksSummary;
  delete job.progress;
  job.progressMessage = '';
  return told(attemptOf(event), attemptsOf(before), job);
}

/** An attempt ended, and the job is queued again. */
export function attemptEnded(before: Attempted, event: JobAttemptEnded, revision: number, job: Job): Attempts {
  const { reason, message, log, output, fault, givenBack, endedAt: at, logDigest, outputDigest, ran } = event;
  job.state = JobState.QUEUED;
  job.claimedBy = '';
  delete job.startedAt;
  const { minRamMb: ramMb } = event;
  if (ramMb > leastRamMb(job)) job.minima = job.minima ? { ...job.minima, ramMb } : create(MinimaSchema, { ramMb });
  const end = { reason, message, log, output, fault, givenBack, at, logDigest, outputDigest, ran };
  const attempts = lastEnded(before, end, job);
  return { ...attempts, backOff: backOffOf(event, revision) };
}

/** An attempt that had ended goes on. */
export function attemptResumed({ attempt, earlier }: Attempted, _event: JobResumed, job: Job): Attempts {
  job.state = JobState.RUNNING;
  job.claimedBy = attempt?.worker ?? '';
  if (attempt?.startedAt) job.startedAt = attempt.startedAt;
  return told(attempt && { ...attempt, ended: undefined }, earlier, job);
}

const wellEnded: AttemptEnd = {
  at: undefined,
  fault: Fault.UNSPECIFIED,
  reason: '',
  message: '',
  log: '',
  output: '',
  givenBack: false,
};

/** The last attempt ended, and with it the job, if it ran. */
export function lastEnded({ attempt, earlier }: Attempted, end: Partial<AttemptEnd>, job: Job): Attempts {
  const runs = attempt && !attempt.ended;
  return told(runs ? { ...attempt, ended: { ...wellEnded, ...end } } : attempt, earlier, job);
}

function told(attempt: Attempt | undefined, earlier: readonly Attempt[], job: Job): Attempts {
  job.attempts = attemptsOf({ attempt, earlier }).map(attemptMessage);
  job.attemptCount = job.attempts.length;
  return { attempt, earlier, backOff: undefined };
}
