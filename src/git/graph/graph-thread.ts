import { parentPort, workerData } from 'node:worker_threads';
import { MemoirError } from '../../domain/errors.js';
import { findObjectDirectories } from '../objects/alternates.js';
import { openObjectStore } from '../objects/object-store.js';
import { createPageCache } from '../objects/paged-file.js';
import { damaged, unavailable } from '../problem.js';
import { openObjectReader } from '../reader/object-reader.js';
import { packError } from '../reader/sent-error.js';
import { openRefs } from '../refs.js';
import { type CommitTable, createCommitTable } from './commit-table.js';
import type { GraphThreadData, GraphThreadMessage } from './graph-protocol.js';
import { importCommits } from './import-commits.js';
import { BadCommitGraph, readCommitGraph, rowOf } from './read-commit-graph.js';
import { buffersOf, makeResident } from './resident-graph.js';
import { computeTopology } from './topology.js';
import { writeCommitGraph } from './write-commit-graph.js';

// The thread that loads or imports a whole history, and ends with it.

/** Bytes of pages of packs and indexes that are kept while importing. */
const pageBytes = 64 * 1024 * 1024;

/** So many commits that had to be imported, or this part of all, make it worth to keep the result. */
const worthKeeping = { commits: 1_000, part: 0.1 };

/** How often progress is told, in milliseconds. */
const progressEvery = 250;

const { layout, starts, keptIn } = workerData as GraphThreadData;
const { name, hash } = layout;

function say(message: GraphThreadMessage, buffers: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, buffers);
}

/** The commit-graph of a directory; a damaged one is told and done without, for objects say the same. */
function readSound(directory: string): CommitTable | undefined {
  try {
    return readCommitGraph(directory, hash);
  } catch (error) {
    if (!(error instanceof BadCommitGraph)) throw error;
    say({ kind: 'warning', text: error.message });
    return undefined;
  }
}

function readLargest(): { table: CommitTable; source: 'repository' | 'kept' | 'objects' } {
  const own = findObjectDirectories(layout.objectDir).map(readSound).find(Boolean);
  const kept = own && starts.every((id) => rowOf(own, id) >= 0) ? undefined : keptIn && readSound(keptIn);
  if (kept && kept.count > (own?.count ?? 0)) return { table: kept, source: 'kept' };
  return own ? { table: own, source: 'repository' } : { table: createCommitTable(hash), source: 'objects' };
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
  try {
    return openRefs(layout, Date.now)
      .list()
      .map(({ id }) => peel(id))
      .filter((peeled) => peeled?.type === 'commit')
      .map((peeled) => peeled?.id ?? '');
  } finally {
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

/** Reads what is missing; of a history that is read from the start, what all refs reach, unless some of that is damaged. */
function complete({ table, source }: ReturnType<typeof readLargest>): { table: CommitTable; imported: number } {
  const missing = starts.filter((id) => rowOf(table, id) < 0);
  if (source === 'objects') {
    try {
      return { table, imported: importInto(table, [...missing, ...refCommits()]) };
    } catch (error) {
      if (!(error instanceof MemoirError) || missing.length === 0) throw error;
      say({ kind: 'warning', text: `${error.message}; the history of that ref is left out` });
    }
  }
  const sound = source === 'objects' ? createCommitTable(hash) : table;
  return { table: sound, imported: missing.length > 0 ? importInto(sound, missing) : 0 };
}

function load(): void {
  const read = readLargest();
  const { source } = read;
  const { table, imported } = complete(read);
  const topology = computeTopology(table, (what) => damaged(name, `its history: ${what}`));
  const keep = imported >= worthKeeping.commits || imported > table.count * worthKeeping.part;
  let written = false;
  if (keptIn !== undefined && keep) {
    try {
      writeCommitGraph(keptIn, table, topology);
      written = true;
    } catch (error) {
      say({ kind: 'warning', text: `cannot keep the commit-graph in ${keptIn}: ${String(error)}` });
    }
  }
  const graph = makeResident(table, topology.order);
  say({ kind: 'loaded', graph, source, imported, written }, buffersOf(graph));
}

try {
  load();
} catch (error) {
  const told = error instanceof MemoirError ? error : unavailable(name, String(error), error);
  say({ kind: 'failed', error: packError(told) });
}
