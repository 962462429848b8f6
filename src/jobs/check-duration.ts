import type { Duration } from '@bufbuild/protobuf/wkt';
import { invalid } from '../domain/errors.js';

/** Seconds of the longest google.protobuf.Duration: 10,000 years of 365.25 days. */
const mostSeconds = 315_576_000_000n;

/** What a duration of a request may be, in milliseconds. */
export type DurationBounds = { readonly least: number; readonly most: number };

/**
 * A duration of a request in milliseconds, of which it may have parts.
 * @throws MemoirError INVALID_ARGUMENT naming the field and the value if it is no google.protobuf.Duration (nanoseconds beyond a
 * second, or of another sign than the seconds), or not within the bounds
 */
export function checkDuration(field: string, duration: Duration, { least, most }: DurationBounds): number {
  const { seconds, nanos } = duration;
  const outside = seconds < -mostSeconds || seconds > mostSeconds || nanos < -999_999_999 || nanos > 999_999_999;
  if (outside || (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0)) {
    throw invalid(field, 'OUT_OF_RANGE', `${field} of ${seconds} seconds and ${nanos} nanoseconds is no duration`);
  }
  const ms = Number(seconds) * 1_000 + nanos / 1_000_000;
  if (ms >= least && ms <= most) return ms;
  const bounds =
    most === Number.POSITIVE_INFINITY ? 'is negative' : `is not between ${least / 1_000} s and ${most / 1_000} s`;
  throw invalid(field, 'OUT_OF_RANGE', `${field} of ${ms / 1_000} s ${bounds}`);
}
