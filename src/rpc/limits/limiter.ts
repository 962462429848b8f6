import { isIPv6 } from 'node:net';
import { MemoirError, quote } from '../../domain/errors.js';
import type { Bucket } from './bucket.js';
import type { KindOfCall } from './kinds-of-call.js';
import { openShares, type Share, type ShareLimits } from './shares.js';

/** Most principals, and most addresses, of which it is remembered what they took. */
const mostRemembered = 10_000;

/** For how many milliseconds the bytes of a caller may be in debt before its calls are refused for it: streams are slowed down to it. */
const bytesInDebt = 1_000;

/** Least time after which a refused call is to be made again, in milliseconds; up to as much again is added, so that not all come at once. */
const leastPause = 100;

/** When a stream or list may have ended, in milliseconds. */
const pauseForRoom = 1_000;

/** What callers may take, by whether they are known. */
export type CallerLimits = { readonly principals: ShareLimits; readonly unauthenticated: ShareLimits };

/** Who makes a call: a principal, or nobody in particular from an address. */
export type From = { readonly principal: string | undefined; readonly address: string };

/** Counts what callers take of a server. */
export type Limiter = {
  /**
   * Lets a call in.
   * @returns what to call when it has ended; undefined for nothing
   * @throws MemoirError RESOURCE_EXHAUSTED TOO_MANY_CALLS, TOO_MANY_REPORTS, TOO_MANY_STREAMS, TOO_MANY_LISTS or TOO_MANY_BYTES, naming the
   * setting and when to come again
   */
  enter(from: From, kind: KindOfCall): (() => void) | undefined;
  /** Counts a call that proved nobody. @throws MemoirError as `enter`, which is then the better answer */
  refused(address: string): void;
  /** Counts the bytes of a message. @returns for how many milliseconds a stream is to wait before it goes on; 0 for not at all */
  took(from: From, bytes: number): number;
};

/** What stands before the names of settings. */
type Table = 'limits' | 'limits.unauthenticated';

/** Starts with nothing taken. Time is that of a clock which does not jump. */
export function openLimiter(
  { principals, unauthenticated }: CallerLimits,
  { monotonic, random }: { monotonic(): number; random(): number },
): Limiter {
  const known = openShares(principals, mostRemembered);
  const unknown = openShares(unauthenticated, mostRemembered);

  function shareOf({ principal, address }: From, now: number): Share {
    return principal === undefined ? unknown.of(networkOf(address), now) : known.of(principal, now);
  }

  function take(from: From, bucket: Bucket, what: 'calls' | 'reports', now: number): void {
    const wait = bucket.take(now);
    if (wait > 0) throw tooMany(from, what, wait);
  }

  function room(from: From, under: number, what: 'streams' | 'lists'): void {
    const { [what]: most } = from.principal === undefined ? unauthenticated : principals;
    if (under < most) return;
    const { table, who } = namesOf(from);
    throw new MemoirError(
      'RESOURCE_EXHAUSTED',
      `TOO_MANY_${what.toUpperCase()}`,
      `${who} has ${under} ${what} under way, as many as ${table}.${what} allows`,
      { metadata: { setting: `${table}.${what}`, limit: String(most) }, retryAfterMs: spread(pauseForRoom) },
    );
  }

  function tooMany(from: From, what: 'calls' | 'reports' | 'bytes', wait: number): MemoirError {
    const { table, who } = namesOf(from);
    const { perSecond, burst } = (from.principal === undefined ? unauthenticated : principals)[what];
    const setting = `${table}.${what}_per_second`;
    return new MemoirError(
      'RESOURCE_EXHAUSTED',
      `TOO_MANY_${what.toUpperCase()}`,
      `${who} takes more ${what} than ${setting} = ${perSecond} and ${table}.${what}_burst = ${burst} allow`,
      { metadata: { setting, limit: String(perSecond) }, retryAfterMs: spread(Math.max(leastPause, wait)) },
    );
  }

  const spread = (pause: number) => Math.ceil(pause * (1 + random()));

  return {
    enter(from, kind) {
      const now = monotonic();
      const share = shareOf(from, now);
      if (kind === 'report') {
        take(from, share.reports, 'reports', now);
        return undefined;
      }
      const owed = share.bytes.owed(now);
      if (owed > bytesInDebt) throw tooMany(from, 'bytes', owed - bytesInDebt);
      if (kind === 'call') {
        take(from, share.calls, 'calls', now);
        return undefined;
      }
      const what = kind === 'stream' ? 'streams' : 'lists';
      room(from, share[what], what);
      take(from, share.calls, 'calls', now);
      share[what] += 1;
      return () => {
        share[what] -= 1;
      };
    },
    refused(address) {
      const now = monotonic();
      const from = { principal: undefined, address };
      take(from, shareOf(from, now).calls, 'calls', now);
    },
    took(from, bytes) {
      const now = monotonic();
      return shareOf(from, now).bytes.owe(bytes, now);
    },
  };
}

function namesOf({ principal, address }: From): { readonly table: Table; readonly who: string } {
  if (principal === undefined) {
    return { table: 'limits.unauthenticated', who: `whoever calls from ${quote(address)} and proves nobody` };
  }
  return { table: 'limits', who: `the principal ${quote(principal)}` };
}

/** Whose an address is: of IPv6, where everybody has a network of them, the first half. */
export function networkOf(address: string): string {
  const text = address.replace(/^::ffff:(?=[0-9.]+$)/i, '').replace(/%.*$/, '');
  if (!isIPv6(text)) return text;
  const [head = '', tail] = text.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  // A dotted end stands for two groups, none of which is of the first half.
  const missing = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
