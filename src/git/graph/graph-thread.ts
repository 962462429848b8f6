import { parentPort, workerData } from 'node:worker_threads';
import { MemoirError } from '../../domain/errors.js';
import { findObjectDirectories } from '../objects/alternates.js';
import { openObjectStore } from '../objects/object-store.js';
import { createPageCache } from '../objects/paged-file.js';
import { damaged, unavailable } from '../problem.js';
import { openObjectReader } from '../reader/object-reader.js';
import { packError } from '../reader/sent-error.js';
import { openRefs } from '../refs.js';
import { type CommitTable, createCommitTable, findRow } from './commit-table.js';
import { BadCommitGraph, type GraphLayer, layersHave, readGraphLayers } from './graph-layers.js';
import type { GraphLoaded, GraphThreadData, GraphThreadMessage } from './graph-protocol.js';
import { importCommits } from './import-commits.js';
import { residentFromLayers } from './resident-from-layers.js';
import { buffersOf, makeResident } from './resident-graph.js';
import { tableFromLayers } from './table-from-layers.js';
import { computeTopology, type Topology } from './topology.js';
import { writeCommitGraph } from './write-commit-graph.js';

// The thread that loads or imports a whole history, and ends with it.

/** Bytes of pages of packs and indexes that are kept while importing. */
const pageBytes = 64 * 1024 * 1024;

/** So many commits that had to be imported, or this part of all, make it worth to keep the result. */
const worthKeeping = { commits: 1_000, part: 0.1 };

/** How often progress is told, in milliseconds. */
const progressEvery = 250;

const { layout, starts, complete, keptIn } = workerData as GraphThreadData;
const { name, hash } = layout;

function say(message: GraphThreadMessage, buffers: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, buffers);
}

type Found = { readonly layers: GraphLayer[]; readonly source: 'repository' | 'kept' };

/** The commit-graph of a directory; a damaged one is told and done without, for objects say the same. */
function readSound(directory: string): GraphLayer[] | undefined {
  return sound(() => readGraphLayers(directory, hash));
}

function sound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof BadCommitGraph)) throw error;
    say({ kind: 'warning', text: error.message });
    return undefined;
  }
}

/** The repository's own commit-graph, or the kept one if that has more to give. */
function findLayers(): Found | undefined {
  const has = (layers: GraphLayer[]) => (id: string) => layersHave(layers, hash, Buffer.from(id, 'hex'));
  const size = (layers: GraphLayer[]) => layers.reduce((sum, { count }) => sum + count, 0);
  const own = findObjectDirectories(layout.objectDir).map(readSound).find(Boolean);
  if (own && starts.every(has(own))) return { layers: own, source: 'repository' };
  const kept = keptIn === undefined ? undefined : readSound(keptIn);
  if (kept && (!own || starts.every(has(kept)) || size(kept) > size(own))) return { layers: kept, source: 'kept' };
  return own && { layers: own, source: 'repository' };
}

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
    return refs
      .list()
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
      say({ kind: 'progress', imported });
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
    say({ kind: 'warning', text: `${error.message}; the history of the ref that leads there is left out` });
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
    say({ kind: 'warning', text: `cannot keep the commit-graph in ${keptIn}: ${String(error)}` });
    return false;
  }
}

function load(): GraphLoaded {
  const found = findLayers();
  const missingFrom = (table: CommitTable) => starts.filter((id) => findRow(table, Buffer.from(id, 'hex')) < 0);
  if (found && !complete) {
    const graph = sound(() => residentFromLayers(found.layers, hash));
    if (graph) return { graph, source: found.source, imported: 0, written: false };
  }
  const known = found && sound(() => tableFromLayers(found.layers, hash));
  const source = known && found ? found.source : 'objects';
  const imported = known ? importInto(known, missingFrom(known)) : 0;
  const table = known ?? importAll();
  const read = known ? imported : table.count;
  const topology = computeTopology(table, (what) => damaged(name, `its history: ${what}`));
  return { graph: makeResident(table, topology.order), source, imported: read, written: keep(table, topology, read) };
}

try {
  const loaded = load();
  say({ kind: 'loaded', ...loaded }, buffersOf(loaded.graph));
} catch (error) {
  const told = error instanceof MemoirError ? error : unavailable(name, String(error), error);
  say({ kind: 'failed', error: packError(told) });
}
