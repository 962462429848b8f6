import { InvalidArgumentError } from 'commander';
import { parseTimestamp } from '../domain/filters/timestamp.js';

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** The forms of a time, for people. */
export const timeForms = '2026-01-31T12:00:00Z, a date as 2026-01-31, or how long ago: 90m, 12h, 7d';

/**
 * A parser of times for an option, which gives milliseconds since 1970-01-01T00:00Z: RFC 3339, a date in UTC, or how long before
 * `now`, such as `90m` or `7d`.
 */
export function time(now: () => number): (text: string) => number {
  return (text) => {
    const ms = parseTime(text, now);
    if (ms === undefined) throw new InvalidArgumentError(`Give a time as ${timeForms}.`);
    return ms;
  };
}

/** The time that a text names, in milliseconds since 1970-01-01T00:00Z, rounded up; undefined if it names none. */
export function parseTime(text: string, now: () => number): number | undefined {
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  if (count !== undefined) return now() - Number(count) * unitMs[unit as keyof typeof unitMs];
  const ms = parseTimestamp(
    /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text.replace(/^(\d{4}-\d\d-\d\d) /, '$1T'),
  );
  return ms === undefined ? undefined : Math.ceil(ms);
}
