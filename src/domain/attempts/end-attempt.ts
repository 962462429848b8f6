import { create } from '@bufbuild/protobuf';
import { durationFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { JobAttemptEndedSchema, JobCompletedSchema, JobFailedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { TasksSummary } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { type Attempt, type Attempted, earlierMark } from '../attempt.js';
import type { CompleteCommand, FailCommand } from '../commands.js';
import type { JobEvent } from '../events.js';
import { nextAttempt } from './retry.js';

/** Longest text of one earlier attempt in the message of a job that failed, in characters, and the most attempts that are told. */
const longestTold = 200;
const mostTold = 10;

/** The end of an attempt that made no result. */
type Failure = {
  readonly fault: Fault;
  readonly reason: string;
  readonly message: string;
  readonly log: string;
  readonly output: string;
  readonly givenBack: boolean;
  readonly logDigest?: Digest | undefined;
  readonly outputDigest?: Digest | undefined;
  readonly tasksSummary?: TasksSummary | undefined;
  readonly ran?: Ran | undefined;
};

/** That the run ended with success. */
export function completion({ attempt }: Attempted, command: CompleteCommand, at: Timestamp): JobEvent {
  const { output, log, tasksSummary, outputDigest, logDigest, outputV1, ran } = command;
  return create(JobCompletedSchema, {
    log,
    attempt: attempt?.number ?? 1,
    ...(tasksSummary && { tasksSummary }),
    output,
    completedAt: at,
    ...(outputDigest && { outputDigest, outputV1: outputV1 ?? '' }),
    ...(logDigest && { logDigest }),
    ...(ran && { ran }),
  });
}

/** The end that a worker reports: another attempt follows, or the job has failed. */
export function failure(attempted: Attempted, command: FailCommand, at: Timestamp): JobEvent {
  const { fault = Fault.SCRIPT, output = '', givenBack = false, reason, message, log, tasksSummary } = command;
  const { logDigest, outputDigest, ran } = command;
  const end = { fault, output, givenBack, reason, message, log, tasksSummary, logDigest, outputDigest, ran };
  return withoutResult(attempted, end, at, command.chance);
}

/** The end of an attempt whose worker reports a result that its job cannot take: another attempt follows, or the job has failed. */
export function refusedResult(
  attempted: Attempted,
  command: CompleteCommand,
  end: Pick<Failure, 'fault' | 'reason' | 'message'>,
  at: Timestamp,
): JobEvent {
  const { log, logDigest, tasksSummary, ran } = command;
  return withoutResult(
    attempted,
    { ...end, log, logDigest, tasksSummary, ran, output: '', givenBack: false },
    at,
    command.chance,
  );
}

/** The end of an attempt whose worker does not say so: another attempt follows, or the job has failed. */
export function endedByServer(
  attempted: Attempted,
  end: Pick<Failure, 'fault' | 'reason' | 'message'>,
  at: Timestamp,
  chance: number | undefined,
): JobEvent {
  return withoutResult(attempted, { ...end, log: '', output: '', givenBack: false }, at, chance);
}

function withoutResult(
  { job, attempt, earlier }: Attempted,
  end: Failure,
  at: Timestamp,
  chance: number | undefined,
): JobEvent {
  const number = attempt?.number ?? 1;
  const { fault, reason, message, log, tasksSummary, logDigest, outputDigest, ran } = end;
  const again = attempt && chance !== undefined ? nextAttempt({ job, attempt, earlier }, end, chance) : undefined;
  if (!again) {
    return create(JobFailedSchema, {
      log,
      attempt: number,
      ...(tasksSummary && { tasksSummary }),
      reason,
      message: withEarlier(message, earlier),
      failedAt: at,
      fault,
      ...(logDigest && { logDigest }),
      ...(ran && { ran }),
      // Before runs were shared it was left out.
      ...(chance !== undefined && { output: end.output, ...(outputDigest && { outputDigest }) }),
    });
  }
  return create(JobAttemptEndedSchema, {
    attempt: number,
    fault,
    reason,
    message,
    log,
    output: end.output,
    backOff: durationFromMs(again.backOffMs),
    endedAt: at,
    minRamMb: again.minRamMb,
    givenBack: again.free,
    ...(logDigest && { logDigest }),
    ...(outputDigest && { outputDigest }),
    ...(ran && { ran }),
  });
}

/** How the last attempt ended, and then those before it, the last of them first. */
function withEarlier(message: string, earlier: readonly Attempt[]): string {
  if (earlier.length === 0) return message;
  const told = earlier.toReversed().slice(0, mostTold).map(endText);
  const left = earlier.length - told.length;
  return `${message}${earlierMark}${told.join('; ')}${left > 0 ? `; and ${left} more` : ''}`;
}

function endText({ number, worker, workerName, ended }: Attempt): string {
  const where = workerName === '' ? worker : `${worker} (${workerName})`;
  const message = ended?.message ?? '';
  const told = message.length > longestTold ? `${message.slice(0, longestTold)}…` : message;
  return `attempt ${number} at ${where} ended with ${ended?.reason ?? 'no reason'}${told === '' ? '' : `, ${told}`}`;
}
