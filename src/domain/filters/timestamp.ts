const format = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * The time that an RFC 3339 text tells, in milliseconds since 1970-01-01T00:00Z; undefined if it is none. Times of jobs are whole
 * milliseconds, so a time between two of them is given as the half between them, which compares with them as it does.
 */
export function parseTimestamp(text: string): number | undefined {
  const match = format.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [offsetHour, offsetMinute] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  if (hour > 23 || minute > 59 || second > 59 || offsetHour > 23 || offsetMinute > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const nanos = Number((match[7] ?? '').padEnd(9, '0'));
  const millis = Math.floor(nanos / 1_000_000);
  const offset = (match[8] === '-' ? -1 : 1) * (offsetHour * 60 + offsetMinute);
  const whole = date.getTime() + ((hour * 60 + minute - offset) * 60 + second) * 1_000 + millis;
  return nanos % 1_000_000 === 0 ? whole : whole + 0.5;
}
