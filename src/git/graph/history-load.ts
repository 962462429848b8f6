import type { Layout } from '../layout.js';
import type { ResidentGraph } from './resident-graph.js';

/** A history that is to be loaded. */
export type HistoryToLoad = {
  readonly layout: Layout;
  /** Commits that are wanted in the graph, with everything that they reach. */
  readonly starts: readonly string[];
  /** Whether they must be in it, even if there is a commit-graph without them. */
  readonly complete: boolean;
  /** Directory where Memoir keeps a commit-graph of its own, if it may. */
  readonly keptIn: string | undefined;
};

/** What became of a load. */
export type GraphLoaded = {
  readonly graph: ResidentGraph;
  /** Where the history was taken from, beside the objects. */
  readonly source: 'repository' | 'kept' | 'objects';
  /** Commits that had to be read as objects. */
  readonly imported: number;
  /** Whether the commit-graph in `keptIn` was written. */
  readonly written: boolean;
};

/** What could be done without: a commit-graph that is damaged, a ref whose history is, or to keep a commit-graph. */
export type DoneWithout = 'commit-graph not used' | 'ref left out' | 'commit-graph not kept';

/** What is told while a load goes on: how many commits were read as objects, or what was done without, and why. */
export type LoadTold = { readonly imported: number } | { readonly without: DoneWithout; readonly why: string };
