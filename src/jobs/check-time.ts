import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { invalid } from '../domain/errors.js';

/** Seconds of the first and the last time that a google.protobuf.Timestamp may tell. */
const [firstSecond, lastSecond] = [-62_135_596_800n, 253_402_300_799n];

/**
 * The first whole millisecond since 1970-01-01T00:00Z that is not before a time of a request; events are recorded in whole ones.
 * @throws MemoirError INVALID_ARGUMENT naming the field if the time is none of the years 1 to 9999
 */
export function checkTime(field: string, { seconds, nanos }: Timestamp): number {
  if (seconds < firstSecond || seconds > lastSecond || nanos < 0 || nanos > 999_999_999) {
    const message = `${field} of ${seconds} seconds and ${nanos} nanoseconds is no time of the years 1 to 9999`;
    throw invalid(field, 'OUT_OF_RANGE', message);
  }
  return Number(seconds) * 1_000 + Math.ceil(nanos / 1_000_000);
}
