import { MemoirError } from '../../domain/errors.js';
import { atOnce } from '../../threads/in-turns.js';
import { openObjectStore } from '../objects/object-store.js';
import { createPageCache } from '../objects/paged-file.js';
import { damaged } from '../problem.js';
import { openObjectReader } from '../reader/object-reader.js';
import { openRefs } from '../refs.js';
import { type CommitTable, createCommitTable, findRow } from './commit-table.js';
import type { GraphLayer } from './graph-layers.js';
import type { GraphLoaded, HistoryToLoad, LoadTold } from './history-load.js';
import { importCommits } from './import-commits.js';
import { makeResident } from './resident-graph.js';
import { tableFromLayers } from './table-from-layers.js';
import { computeTopology, type Topology } from './topology.js';
import { writeCommitGraph } from './write-commit-graph.js';

/** Bytes of pages of packs and indexes that are kept while importing. */
const pageBytes = 64 * 1024 * 1024;

/** So many commits that had to be imported, or this part of all, make it worth to keep the result. */
const worthKeeping = { commits: 1_000, part: 0.1 };

/** How often progress is told, in milliseconds. */
const progressEvery = 250;

/** What an import begins with and whom it tells. */
export type ImportStart = {
  /** A commit-graph that has a part of the history, if there is one. */
  readonly layers: readonly GraphLayer[] | undefined;
  readonly tell: (told: LoadTold) => void;
};

/** A history as far as it was imported. */
export type ImportedHistory = Pick<GraphLoaded, 'graph' | 'imported' | 'written'>;

/**
 * Reads what a commit-graph does not have from the objects, and keeps the whole as a commit-graph if that was much.
 * @throws BadCommitGraph if the commits of the layers do not fit together; MemoirError DATA_LOSS if the repository is damaged
 */
export function importHistory(
  { layout, starts, keptIn }: HistoryToLoad,
  { layers, tell }: ImportStart,
): ImportedHistory {
  const { name, hash } = layout;

  /** All commits that refs lead to; a ref that leads nowhere does not hinder the others. */
  function refCommits(): string[] {
    const reader = openObjectReader(layout, createPageCache(pageBytes));
    const peel = (id: string) => {
      try {
        return reader.peel(id);
      } catch (error) {
        if (error instanceof MemoirError) return undefined;
        throw error;
      }
    };
    const refs = openRefs(layout, Date.now);
    try {
      return atOnce(refs.list())
        .map(({ id }) => peel(id))
        .filter((peeled) => peeled?.type === 'commit')
        .map((peeled) => peeled?.id ?? '');
    } finally {
      refs.close();
      reader.close();
    }
  }

  function importInto(table: CommitTable, wanted: readonly string[]): number {
    const before = table.count;
    const objects = openObjectStore({
      repository: name,
      directory: layout.objectDir,
      hash,
      pages: createPageCache(pageBytes),
    });
    let told = performance.now();
    try {
      importCommits(layout, objects, table, wanted, (imported) => {
        if (imported % 256 !== 0 || performance.now() - told < progressEvery) return;
        told = performance.now();
        tell({ imported });
      });
    } finally {
      objects.close();
    }
    return table.count - before;
  }

  /** Reads a history from the start: what all refs reach, or if some of that is damaged only what is wanted. */
  function importAll(): CommitTable {
    const table = createCommitTable(hash);
    try {
      importInto(table, [...starts, ...refCommits()]);
      return table;
    } catch (error) {
      if (!(error instanceof MemoirError) || starts.length === 0) throw error;
      tell({ without: 'ref left out', why: `${error.message}; the history of the ref that leads there is left out` });
    }
    const wanted = createCommitTable(hash);
    importInto(wanted, starts);
    return wanted;
  }

  /** Keeps a commit-graph that was worth the time it took; that it cannot be kept is told and no more. */
  function keep(table: CommitTable, topology: Topology, imported: number): boolean {
    if (keptIn === undefined || (imported < worthKeeping.commits && imported < table.count * worthKeeping.part))
      return false;
    try {
      writeCommitGraph(keptIn, table, topology);
      return true;
    } catch (error) {
      tell({ without: 'commit-graph not kept', why: `it cannot be written into ${keptIn}: ${String(error)}` });
      return false;
    }
  }

  const known = layers && tableFromLayers(layers, hash);
  const missing = known ? starts.filter((id) => findRow(known, Buffer.from(id, 'hex')) < 0) : [];
  const added = known ? importInto(known, missing) : 0;
  const table = known ?? importAll();
  const imported = known ? added : table.count;
  const topology = computeTopology(table, (what) => damaged(name, `its history: ${what}`));
  return { graph: makeResident(table, topology.order), imported, written: keep(table, topology, imported) };
}
