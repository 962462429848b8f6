import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { MemoirError, quote } from '../../domain/errors.js';
import { fileKind } from '../file-kind.js';
import type { Layout } from '../layout.js';
import type { Reader } from '../reader/reader.js';
import type { WalkedCommit } from '../reader/reader-thread.js';
import { type CommitGraph, createCommitGraph } from './commit-graph.js';
import { type GraphLoad, loadGraph } from './load-graph.js';
import type { RangeFound } from './on-disk/range-in-layers.js';
import type { Slicer } from './slicer.js';

/** Where to write what operators should see; a pino logger will do. */
export type HistoryLog = {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
};

/** The history of one repository, loaded when it is first needed. */
export type History = {
  /**
   * A graph that has the given commits, which the repository must have, with everything that they reach.
   * @throws MemoirError UNAVAILABLE HISTORY_LOADING, with the progress, if that takes longer than the configured time;
   * DATA_LOSS if the repository is damaged
   */
  graphWith(ids: readonly string[]): Promise<CommitGraph>;
  /**
   * The commits of `base..tip` as a commit-graph on the disk has them, while nothing is loaded, which begins meanwhile. Undefined if all is
   * loaded, if there is no such commit-graph, or while another range is looked for so: then `graphWith` is what to wait for.
   */
  rangeOnDisk(tip: string, base: string): Promise<RangeFound | undefined>;
  /**
   * The commits of `base..tip` where the whole history cannot be loaded because something of it is damaged.
   * @throws MemoirError DATA_LOSS if that may have to do with the range
   */
  rangeBesideDamage(tip: string, base: string): Promise<RangeFound>;
  /** The graph if it is loaded. */
  loaded(): CommitGraph | undefined;
  /** Bytes that the graph takes; 0 if there is none, or while another is being loaded. */
  bytes(): number;
  /** When it was last asked for anything, by the given clock. */
  usedAt(): number;
  /** Lets go of the graph, unless another is being loaded; the next call loads it again. */
  unload(): void;
  close(): Promise<void>;
};

/** What a history needs to know. */
export type HistoryOptions = {
  readonly layout: Layout;
  readonly reader: Reader;
  readonly slicer: Slicer;
  /** Object directory where a commit-graph of Memoir's own is kept, if it may be. */
  readonly keptIn: string | undefined;
  readonly log: HistoryLog;
  /** How long a call waits for a load before it is UNAVAILABLE, in milliseconds. */
  readonly patience: number;
  /** Time in milliseconds of a clock that does not jump. */
  readonly monotonic: () => number;
  /** Called when a graph was loaded. */
  readonly onLoaded: () => void;
};

/** Commits asked of the reader in one message; more would hold up this thread while they are unpacked. */
const walkLimits = { first: 64, factor: 4, most: 2_048 };

/** How long the same load is not tried again after it failed, in milliseconds; it may have taken minutes. */
const restAfterFailure = 5_000;

/** How long a range is looked for on the disk before all is loaded beside it, in milliseconds. */
const headStart = 250;

/** How often the progress of an import goes to the log, in milliseconds. */
const logEvery = 2_000;

/** Most commits that one call adds one by one. */
const mostExtended = 20_000;

/** So many commits added one by one make it worth to load the graph afresh. */
const mostAdded = 100_000;

/** A history, of which nothing is loaded yet. */
export function createHistory({
  layout,
  reader,
  slicer,
  keptIn,
  log,
  patience,
  monotonic,
  onLoaded,
}: HistoryOptions): History {
  const { name } = layout;
  let graph: CommitGraph | undefined;
  let load: GraphLoad | undefined;
  let loading: Promise<CommitGraph> | undefined;
  let imported = 0;
  let extending: Promise<unknown> = Promise.resolve();
  let closed = false;
  /** Whether a range is being looked for on the disk. */
  let onDisk = false;
  let usedAt = monotonic();
  let failed: { starts: string; error: unknown; until: number } | undefined;

  async function startLoad(starts: readonly string[], complete: boolean): Promise<CommitGraph> {
    if (closed) throw new MemoirError('UNAVAILABLE', 'REPOSITORY_UNAVAILABLE', `repository ${quote(name)} is closed`);
    const key = starts.join(' ');
    if (failed?.starts === key && performance.now() < failed.until) throw failed.error;
    imported = 0;
    const begun = performance.now();
    let logged = begun;
    load = loadGraph(
      { layout, starts, complete, keptIn },
      {
        progress(count) {
          imported = count;
          if (performance.now() - logged < logEvery) return;
          logged = performance.now();
          log.info({ repository: name, imported }, 'importing history');
        },
        without: (what, why) => log.warn({ repository: name, problem: why }, what),
      },
    );
    const result = load.result.then(({ graph: resident, source, imported: read, written }) => {
      graph = createCommitGraph(resident);
      usedAt = monotonic();
      const milliseconds = Math.round(performance.now() - begun);
      log.info(
        { repository: name, commits: resident.count, source, imported: read, written, milliseconds },
        'history loaded',
      );
      return graph;
    });
    loading = result.finally(() => {
      loading = undefined;
      load = undefined;
      onLoaded();
    });
    loading.catch((error: unknown) => {
      failed = { starts: key, error, until: performance.now() + restAfterFailure };
      log.warn({ repository: name, problem: String(error) }, 'history not loaded');
    });
    return loading;
  }

  async function firstGraph(starts: readonly string[]): Promise<CommitGraph> {
    return graph ?? (await inTime(loading ?? startLoad(starts, false)));
  }

  async function inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new MemoirError(
              'UNAVAILABLE',
              'HISTORY_LOADING',
              `the history of repository ${quote(name)} is being imported: ${imported} commits so far; try again later`,
              { metadata: { repository: name, imported: String(imported) } },
            ),
          ),
        patience,
      );
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Reads what is missing in growing batches until everything leads to commits that are there, then adds it. If that is too
   * much to be added one by one, all is loaded afresh.
   */
  async function extend(to: CommitGraph, ids: readonly string[]): Promise<CommitGraph> {
    const read = new Map<string, WalkedCommit>();
    let limit = walkLimits.first;
    let frontier = ids.filter((id) => to.numberOf(id) < 0);
    while (frontier.length > 0) {
      if (read.size > mostExtended) return loading ?? startLoad(ids, true);
      const walked = await reader.read.walk({ layout, starts: frontier.slice(0, walkLimits.most), limit });
      limit = Math.min(limit * walkLimits.factor, walkLimits.most);
      const left = new Set(frontier);
      for (const commit of walked) {
        left.delete(commit.id);
        if (to.numberOf(commit.id) < 0) read.set(commit.id, commit);
      }
      for (const { parents } of walked) {
        for (const parent of parents) if (to.numberOf(parent) < 0 && !read.has(parent)) left.add(parent);
      }
      frontier = [...left].filter((id) => !read.has(id));
    }
    await slicer.run(addAll(to, read, ids));
    return to;
  }

  function serially<T>(work: () => Promise<T>): Promise<T> {
    const result = extending.then(work);
    extending = result.catch(() => undefined);
    return result;
  }

  async function graphWith(ids: readonly string[]): Promise<CommitGraph> {
    usedAt = monotonic();
    const current = await firstGraph(ids);
    if (ids.every((id) => current.numberOf(id) >= 0)) return current;
    const extended = await inTime(serially(() => extend(graph ?? current, ids)));
    if (extended.added() > mostAdded && extended === graph && !loading) startLoad(ids, true).catch(() => undefined);
    if (ids.every((id) => extended.numberOf(id) >= 0)) return extended;
    return graphWith(ids);
  }

  function hasCommitGraph(directory: string): boolean {
    const info = join(directory, 'info');
    return Boolean(fileKind(join(info, 'commit-graph')) || fileKind(join(info, 'commit-graphs/commit-graph-chain')));
  }

  async function rangeOnDisk(tip: string, base: string): Promise<RangeFound | undefined> {
    usedAt = monotonic();
    if (graph || onDisk || closed) return undefined;
    const directories = [layout.objectDir, ...(keptIn === undefined ? [] : [keptIn])];
    if (!directories.some(hasCommitGraph)) return undefined;
    onDisk = true;
    const loadedFirst = new AbortController();
    try {
      const found = reader.read.range({ layout, tip, base, keptIn }, { signal: loadedFirst.signal });
      // A load takes a processor and the disk for itself: what is short is sooner answered without one beside it.
      const begun = Promise.race([
        found.then(
          () => undefined,
          () => undefined,
        ),
        pause(headStart, undefined, { ref: false }),
      ]);
      const load = begun
        .then(() => graph ?? loading ?? startLoad([tip, base], false))
        .then(
          () => loadedFirst.abort(),
          () => found,
        );
      // Of a long range the whole may be loaded sooner.
      const first = (await Promise.race([found, load])) ?? undefined;
      return first === 'long' ? undefined : first;
    } catch (error) {
      if (!closed) log.warn({ repository: name, problem: String(error) }, 'commit-graph not read');
      return undefined;
    } finally {
      onDisk = false;
    }
  }

  return {
    graphWith,
    rangeOnDisk,
    rangeBesideDamage: (tip, base) => inTime(reader.read.rangeBesideDamage({ layout, tip, base })),
    loaded() {
      usedAt = monotonic();
      return graph;
    },
    bytes: () => (loading ? 0 : (graph?.bytes() ?? 0)),
    usedAt: () => usedAt,
    unload() {
      if (!loading) graph = undefined;
    },
    async close() {
      closed = true;
      await load?.cancel();
    },
  };
}

/** Adds commits to a graph, parents first: a depth-first search without recursion. */
function* addAll(
  graph: CommitGraph,
  read: ReadonlyMap<string, WalkedCommit>,
  ids: readonly string[],
): Generator<undefined, undefined> {
  const stack = [...ids];
  for (let id = stack.at(-1); id !== undefined; id = stack.at(-1)) {
    const commit = graph.numberOf(id) < 0 ? read.get(id) : undefined;
    const waiting = commit?.parents.filter((parent) => graph.numberOf(parent) < 0) ?? [];
    if (waiting.length > 0) stack.push(...waiting);
    else {
      stack.pop();
      if (commit) graph.add(id, commit.parents.map(graph.numberOf));
    }
    yield;
  }
}
