import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { RetryPolicy, TimeLimits } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { resolvedRetry } from '../../domain/attempts/retry.js';
import { invalid } from '../../domain/errors.js';
import { checkDuration } from '../check-duration.js';

/** Most attempts that may follow others of one kind. */
const mostAgain = 100;
const day = 86_400_000;
const backoffBounds = { least: 0, most: 7 * day };
const limitBounds = { least: 1_000, most: 366 * day };

/** Bounds of the factor by which the least RAM grows. */
const ramFactors = { least: 1, most: 16 };

/** @throws MemoirError INVALID_ARGUMENT naming the first field that is out of bounds, and its value */
export function checkRetry(retry: RetryPolicy): void {
  for (const name of ['lost', 'failed'] as const) {
    const count = retry[name];
    if (count === undefined || count <= mostAgain) continue;
    throw invalid(`retry.${name}`, 'OUT_OF_RANGE', `retry.${name} ${count} is more than ${mostAgain}`);
  }
  const least = retry.minBackoff && checkDuration('retry.min_backoff', retry.minBackoff, backoffBounds);
  const most = retry.maxBackoff && checkDuration('retry.max_backoff', retry.maxBackoff, backoffBounds);
  if (least !== undefined && most !== undefined && most < least) {
    throw invalid(
      'retry.max_backoff',
      'OUT_OF_RANGE',
      `retry.max_backoff of ${most / 1_000} s is below retry.min_backoff of ${least / 1_000} s`,
    );
  }
  const { ramFactor = 1 } = retry;
  if (ramFactor >= ramFactors.least && ramFactor <= ramFactors.most) return;
  throw invalid(
    'retry.ram_factor',
    'OUT_OF_RANGE',
    `retry.ram_factor ${ramFactor} is not between ${ramFactors.least} and ${ramFactors.most}`,
  );
}

/** @throws MemoirError INVALID_ARGUMENT naming the first field that is out of bounds, and its value */
export function checkLimits({ run, queued }: TimeLimits): void {
  if (run) checkDuration('limits.run', run, limitBounds);
  if (queued) checkDuration('limits.queued', queued, limitBounds);
}

/** How often a job is run again, as it is recorded: with nothing left out, and in whole milliseconds. */
export function recordedRetry(given: RetryPolicy | undefined): RetryPolicy {
  const { minBackoff, maxBackoff, ...rest } = resolvedRetry(given);
  const whole = (name: string, duration: typeof minBackoff) =>
    duration && durationFromMs(Math.round(checkDuration(name, duration, backoffBounds)));
  const [least, most] = [whole('retry.min_backoff', minBackoff), whole('retry.max_backoff', maxBackoff)];
  return { ...rest, ...(least && { minBackoff: least }), ...(most && { maxBackoff: most }) };
}
