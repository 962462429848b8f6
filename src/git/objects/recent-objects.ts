import type { GitObject } from './object.js';

/** Small objects of a pack that were read a moment ago, by their offsets. */
export type RecentObjects = {
  get(offset: number): GitObject | undefined;
  /** Keeps an object if it is small; the oldest make room. Its content is not to be written to any more. */
  put(offset: number, object: GitObject): void;
};

/** Most bytes of one object, and of all of a pack. */
const largest = 4_096;
const most = 128 * 1024;

/** What else is counted for each object, so that very many without content have a bound too. */
const overhead = 128;

/** None yet. What lies close together in a pack is often made of the same few others, each of which would be made anew each time. */
export function recentObjects(): RecentObjects {
  const kept = new Map<number, GitObject>();
  let bytes = 0;
  return {
    get: (offset) => kept.get(offset),
    put(offset, object) {
      const size = object.data.length + overhead;
      if (object.data.length > largest || kept.has(offset)) return;
      kept.set(offset, object);
      bytes += size;
      if (bytes <= most) return;
      for (const [oldest, { data }] of kept) {
        if (bytes <= most) break;
        kept.delete(oldest);
        bytes -= data.length + overhead;
      }
    },
  };
}
