import { LRUCache } from 'lru-cache';
import type { CommitGraph } from './graph/commit-graph.js';
import { createDescendants, type Descendants } from './graph/descendants.js';
import type { History } from './graph/history.js';
import type { Slicer } from './graph/slicer.js';

/** Tells which commits of one repository have another in their history, and keeps the costly part of that. */
export type Ancestry = {
  /**
   * Whether a commit has `ancestor` in its history, itself included. The repository must have `ancestor` and all of `commits`,
   * which are those that may be asked for.
   * @throws MemoirError as `History.graphWith`
   */
  descendants(ancestor: string, commits: readonly string[]): Promise<(commit: string) => boolean>;
  /** Lets go of what is kept. */
  forget(): void;
};

/** Bytes of the sets that are kept of one repository. */
const keptBytes = 16 * 1024 * 1024;

type Kept = { readonly graph: CommitGraph; readonly set: Descendants };

/** Ancestry over a history. */
export function createAncestry(history: History, slicer: Slicer): Ancestry {
  const kept = new LRUCache<string, Kept>({
    maxSize: keptBytes,
    sizeCalculation: ({ set }) => set.bytes() + 256,
  });

  return {
    forget: () => kept.clear(),
    async descendants(ancestor, commits) {
      const graph = await history.graphWith([ancestor, ...commits]);
      const known = kept.get(ancestor);
      // A graph that was loaded afresh has other numbers.
      const set = known?.graph === graph ? known.set : createDescendants(graph, graph.numberOf(ancestor));
      await slicer.run(set.extend());
      kept.set(ancestor, { graph, set });
      return (commit) => set.has(graph.numberOf(commit));
    },
  };
}
