import type { HistoryLog } from './history.js';

/** The history of one repository as far as its memory is concerned. */
export type HeldGraph = {
  /** Name of the repository. */
  readonly name: string;
  /** Bytes that would be free without it; 0 if it is not in memory. */
  bytes(): number;
  /** When it was last asked for, in milliseconds of a clock that does not jump. */
  usedAt(): number;
  /** Lets go of it. It is loaded again when it is asked for. */
  unload(): void;
};

/** How long and how many histories stay in memory. */
export type GraphLimits = {
  /** How long a history stays that nobody asks for, in milliseconds; Infinity for as long as there is room. */
  readonly idleAfter: number;
  /** Most bytes of all histories together; the one that was used last may have more alone. */
  readonly maxBytes: number;
};

/** An hour, and 1 GiB: about thirty million commits. */
export const graphLimits: GraphLimits = { idleAfter: 3_600_000, maxBytes: 1024 ** 3 };

/** Lets go of histories that nobody asks for, and of those used least recently where all are too many. */
export type GraphBudget = {
  /** Takes in the history of a repository, loaded or not, until the returned function is called. */
  hold(graph: HeldGraph): () => void;
  /** Lets go of what is due; to be called when a history was loaded. What only time makes due, this looks for by itself. */
  sweep(): void;
  close(): void;
};

/** Bounds of the time between two looks, in milliseconds. */
const sweepEvery = { least: 100, most: 60_000 };

/**
 * A budget without histories yet.
 * @param monotonic - time in milliseconds of a clock that does not jump
 */
export function createGraphBudget(limits: GraphLimits, monotonic: () => number, log: HistoryLog): GraphBudget {
  const graphs = new Set<HeldGraph>();
  const pause = Math.min(Math.max(limits.idleAfter / 4, sweepEvery.least), sweepEvery.most);
  const timer = setInterval(sweep, pause).unref();

  function sweep(): void {
    for (const graph of graphsDue([...graphs], limits, monotonic())) {
      const idle = Math.round(monotonic() - graph.usedAt());
      log.info({ repository: graph.name, bytes: graph.bytes(), idle }, 'history let go');
      graph.unload();
    }
  }

  return {
    hold(graph) {
      graphs.add(graph);
      return () => void graphs.delete(graph);
    },
    sweep,
    close: () => clearInterval(timer),
  };
}

/** Those of the histories that are to be let go now, the least recently used first. */
export function graphsDue<G extends Pick<HeldGraph, 'bytes' | 'usedAt'>>(
  graphs: readonly G[],
  { idleAfter, maxBytes }: GraphLimits,
  now: number,
): G[] {
  const loaded = graphs.filter((graph) => graph.bytes() > 0).sort((a, b) => a.usedAt() - b.usedAt());
  let bytes = loaded.reduce((sum, graph) => sum + graph.bytes(), 0);
  const last = loaded.at(-1);
  return loaded.filter((graph) => {
    const due = now - graph.usedAt() >= idleAfter || (bytes > maxBytes && graph !== last);
    if (due) bytes -= graph.bytes();
    return due;
  });
}
