import { setImmediate as turn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { MemoirError } from '../domain/errors.js';
import type { CommitGraph } from './graph/commit-graph.js';
import { type CommitSet, computeRange, descending, includes } from './graph/commit-range.js';
import type { History } from './graph/history.js';
import type { RangeFound } from './graph/on-disk/range-in-layers.js';
import type { Slicer } from './graph/slicer.js';
import type { CommitRange } from './port.js';

/** Ends of a range, as commits. */
export type RangeEnds = {
  readonly end: string;
  readonly minimum: string | undefined;
  readonly excluded: readonly string[];
};

/** Makes ranges of one repository and keeps the costly part of them. */
export type Ranges = {
  between(ends: RangeEnds): Promise<CommitRange>;
  /** Lets go of what is kept. Ranges that were given out stay as they are. */
  forget(): void;
};

/** Bytes of the sets that are kept of one repository. */
const keptBytes = 16 * 1024 * 1024;

/** Commits that a stream gives between two chances for other work. */
const stride = 512;

/** The commits of `minimum..end`, without `minimum`. */
type Computed = {
  readonly size: number;
  has(commit: string): boolean;
  /** Every commit, descendants before their ancestors. */
  descending(): Iterable<string>;
  /** Bytes of memory that it takes. */
  readonly bytes: number;
};

/** Ranges over a history. What is kept is keyed by commits, which never change, so it never has to be thrown away. */
export function createRanges(history: History, slicer: Slicer): Ranges {
  const kept = new LRUCache<string, Promise<Computed>>({ maxSize: keptBytes, sizeCalculation: () => 256 });

  async function computeAnew(end: string, minimum: string): Promise<Computed> {
    const onDisk = await history.rangeOnDisk(end, minimum);
    if (onDisk) return byIds(onDisk);
    let graph: CommitGraph;
    try {
      graph = await history.graphWith([end, minimum]);
    } catch (error) {
      if (!(error instanceof MemoirError) || error.code !== 'DATA_LOSS') throw error;
      return byIds(await history.rangeBesideDamage(end, minimum));
    }
    return byNumbers(graph, await slicer.run(computeRange(graph, graph.numberOf(end), graph.numberOf(minimum))));
  }

  /** Callers that want the same set at the same time share one computation. */
  function compute(end: string, minimum: string): Promise<Computed> {
    const key = `${end} ${minimum}`;
    const known = kept.get(key);
    if (known) return known;
    const computed = computeAnew(end, minimum);
    kept.set(key, computed);
    computed.then(
      ({ bytes }) => kept.peek(key) === computed && kept.set(key, computed, { size: bytes + 256 }),
      () => kept.peek(key) === computed && kept.delete(key),
    );
    return computed;
  }

  return {
    forget: () => kept.clear(),
    async between(ends) {
      const { end, minimum } = ends;
      if (minimum === undefined || minimum === end) return few(ends, [end]);
      return many(ends, minimum, await compute(end, minimum));
    },
  };
}

function few(ends: RangeEnds, candidates: readonly string[]): CommitRange {
  const commits = candidates.filter((commit) => !ends.excluded.includes(commit));
  return {
    ...ends,
    size: commits.length,
    has: (commit) => commits.includes(commit),
    async *commits() {
      yield* commits;
    },
  };
}

function byNumbers(graph: CommitGraph, set: CommitSet): Computed {
  return {
    size: set.size,
    bytes: set.bits.length,
    has(commit) {
      const number = graph.numberOf(commit);
      return number >= 0 && includes(set, number);
    },
    *descending() {
      for (const number of descending(set)) yield graph.idOf(number);
    },
  };
}

function byIds({ size, ids, byId }: RangeFound): Computed {
  // What another thread made is no Buffer here.
  const bytes = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
  const width = size === 0 ? 0 : bytes.length / size;
  return {
    size,
    bytes: ids.byteLength + byId.byteLength,
    has(commit) {
      if (commit.length !== width * 2) return false;
      const id = Buffer.from(commit, 'hex');
      let low = 0;
      let high = size;
      while (low < high) {
        const middle = (low + high) >>> 1;
        const start = (byId[middle] ?? 0) * width;
        const order = id.compare(bytes, start, start + width);
        if (order === 0) return true;
        if (order > 0) low = middle + 1;
        else high = middle;
      }
      return false;
    },
    *descending() {
      for (let at = 0; at < bytes.length; at += width) yield bytes.toString('hex', at, at + width);
    },
  };
}

function many(ends: RangeEnds, minimum: string, computed: Computed): CommitRange {
  const excluded = new Set(ends.excluded);
  const has = (commit: string) => (commit === minimum || computed.has(commit)) && !excluded.has(commit);
  const gone = [...excluded].filter((commit) => commit === minimum || computed.has(commit)).length;
  return {
    ...ends,
    size: computed.size + 1 - gone,
    has,
    async *commits() {
      let given = 0;
      for (const commit of computed.descending()) {
        if (++given % stride === 0) await turn();
        if (!excluded.has(commit)) yield commit;
      }
      if (!excluded.has(minimum)) yield minimum;
    },
  };
}
