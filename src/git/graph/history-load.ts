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

/** What is told while a load goes on: how many commits were read as objects, or what is damaged and could be done without. */
export type LoadTold = { readonly imported: number } | { readonly warning: string };
