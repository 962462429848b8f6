import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';

/** How long ago a time was, in one unit: `42 s ago`. Times ahead, as of clocks that differ, are `now`. */
export function age(time: Timestamp | undefined, nowMs: number): string {
  if (!time) return '';
  const ms = nowMs - timestampMs(time);
  return ms < 1_000 ? 'now' : `${span(ms)} ago`;
}

/** A length of time in its largest sensible unit, at most two digits after the point: `850 ms`, `1.25 s`, `3 min`, `2 d`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${Number((ms / 1_000).toFixed(2))} s`;
  if (ms < 120_000) return `${Math.floor(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** The time as ISO 8601 in UTC with milliseconds; empty for none. */
export function instant(time: Timestamp | undefined): string {
  return time ? new Date(timestampMs(time)).toISOString() : '';
}
