import { setImmediate as turn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { CommitGraph } from './graph/commit-graph.js';
import { type CommitSet, computeRange, descending, includes } from './graph/commit-range.js';
import type { History } from './graph/history.js';
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

type Computed = { readonly graph: CommitGraph; readonly set: CommitSet };

/** Ranges over a history. What is kept is keyed by commits, which never change, so it never has to be thrown away. */
export function createRanges(history: History, slicer: Slicer): Ranges {
  const kept = new LRUCache<string, Promise<Computed>>({ maxSize: keptBytes, sizeCalculation: () => 256 });

  /** Callers that want the same set at the same time share one computation. */
  function compute(end: string, minimum: string): Promise<Computed> {
    const key = `${end} ${minimum}`;
    const known = kept.get(key);
    if (known) return known;
    const computed = history.graphWith([end, minimum]).then(async (graph) => {
      const set = await slicer.run(computeRange(graph, graph.numberOf(end), graph.numberOf(minimum)));
      return { graph, set };
    });
    kept.set(key, computed);
    computed.then(
      ({ set }) => kept.peek(key) === computed && kept.set(key, computed, { size: set.bits.length + 256 }),
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

function many(ends: RangeEnds, minimum: string, { graph, set }: Computed): CommitRange {
  const excluded = new Set(ends.excluded);
  const inSet = (commit: string) => {
    const number = graph.numberOf(commit);
    return number >= 0 && includes(set, number);
  };
  const has = (commit: string) => (commit === minimum || inSet(commit)) && !excluded.has(commit);
  const gone = [...excluded].filter((commit) => commit === minimum || inSet(commit)).length;
  return {
    ...ends,
    size: set.size + 1 - gone,
    has,
    async *commits() {
      let given = 0;
      for (const number of descending(set)) {
        if (++given % stride === 0) await turn();
        const commit = graph.idOf(number);
        if (!excluded.has(commit)) yield commit;
      }
      if (!excluded.has(minimum)) yield minimum;
    },
  };
}
