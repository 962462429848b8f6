import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';

/** The time of an event as tables keep it: milliseconds since 1970-01-01T00:00Z, 0 for none. */
export function millis(time: Timestamp | undefined): number {
  return time ? timestampMs(time) : 0;
}
