import { LRUCache } from 'lru-cache';
import { Bucket, type Rate } from './bucket.js';

/** What one caller may take. */
export type ShareLimits = {
  readonly calls: Rate;
  readonly reports: Rate;
  readonly bytes: Rate;
  readonly streams: number;
  readonly lists: number;
};

/** What one caller has taken. */
export type Share = {
  readonly calls: Bucket;
  readonly reports: Bucket;
  readonly bytes: Bucket;
  /** Under way. */
  streams: number;
  lists: number;
};

/** The shares of callers, by names of theirs. */
export type Shares = {
  /** The share of a caller, begun if there is none. */
  of(name: string, now: number): Share;
  /** How many are remembered. */
  readonly size: number;
};

/** How many of those that were not heard of for longest are looked at for one that can be forgotten. */
const looks = 8;

/**
 * Keeps shares, at most so many. One that is as new is forgotten for another, and no other one: who makes names without end does not get rid of what is
 * known of anybody. While all have taken something, callers that come new have one share together.
 */
export function openShares(limits: ShareLimits, most: number): Shares {
  const known = new LRUCache<string, Share>({ max: most });
  let rest: Share | undefined;

  const begin = (now: number): Share => ({
    calls: new Bucket(limits.calls, now),
    reports: new Bucket(limits.reports, now),
    bytes: new Bucket(limits.bytes, now),
    streams: 0,
    lists: 0,
  });

  const isNew = ({ calls, reports, bytes, streams, lists }: Share, now: number) =>
    streams === 0 && lists === 0 && calls.isFull(now) && reports.isFull(now) && bytes.isFull(now);

  function makeRoom(now: number): boolean {
    if (known.size < most) return true;
    let left = looks;
    for (const name of known.rkeys()) {
      const share = known.peek(name);
      if (share && isNew(share, now)) return known.delete(name);
      left -= 1;
      if (left === 0) break;
    }
    return false;
  }

  return {
    of(name, now) {
      const before = known.get(name);
      if (before) return before;
      if (!makeRoom(now)) {
        rest ??= begin(now);
        return rest;
      }
      const made = begin(now);
      known.set(name, made);
      return made;
    },
    get size() {
      return known.size;
    },
  };
}
