import { parentPort, workerData } from 'node:worker_threads';
import { MemoirError } from '../../domain/errors.js';
import { findObjectDirectories } from '../objects/alternates.js';
import { unavailable } from '../problem.js';
import { packError } from '../reader/sent-error.js';
import { BadCommitGraph, checkIntact, type GraphLayer, layersHave, readGraphLayers } from './graph-layers.js';
import type { GraphLoaded, GraphThreadData, GraphThreadMessage } from './graph-protocol.js';
import { residentFromLayers } from './resident-from-layers.js';
import type { ResidentGraph } from './resident-graph.js';

// The thread that loads or imports a whole history, and ends with it. What only an import needs is not loaded before there is one.

const data = workerData as GraphThreadData;
const { layout, starts, complete, keptIn } = data;
const { name, hash } = layout;

function say(message: GraphThreadMessage): void {
  parentPort?.postMessage(message);
}

type Found = { readonly layers: GraphLayer[]; readonly source: 'repository' | 'kept'; readonly directory: string };

function warn(error: unknown): void {
  if (!(error instanceof BadCommitGraph)) throw error;
  say({ kind: 'warning', text: error.message });
}

/** Object directories whose commit-graph turned out to be damaged. It is told and done without, for objects say the same. */
const unsound = new Set<string>();

function readSound(directory: string): GraphLayer[] | undefined {
  if (unsound.has(directory)) return undefined;
  try {
    return readGraphLayers(directory, hash);
  } catch (error) {
    unsound.add(directory);
    warn(error);
    return undefined;
  }
}

/** The repository's own commit-graph, or the kept one if that has more to give. */
function findLayers(): Found | undefined {
  const has = (layers: GraphLayer[]) => (id: string) => layersHave(layers, hash, Buffer.from(id, 'hex'));
  const size = (layers: GraphLayer[]) => layers.reduce((sum, { count }) => sum + count, 0);
  const own = firstOf(findObjectDirectories(layout.objectDir), 'repository');
  if (own && starts.every(has(own.layers))) return own;
  const kept = keptIn === undefined ? undefined : firstOf([keptIn], 'kept');
  if (kept && (!own || starts.every(has(kept.layers)) || size(kept.layers) > size(own.layers))) return kept;
  return own;
}

function firstOf(directories: readonly string[], source: Found['source']): Found | undefined {
  for (const directory of directories) {
    const layers = readSound(directory);
    if (layers) return { layers, source, directory };
  }
  return undefined;
}

/** The graph as the files have it; undefined if that cannot be, while their table may still be good. */
function asItIs({ layers }: Found): ResidentGraph | undefined {
  try {
    return residentFromLayers(layers, hash);
  } catch (error) {
    warn(error);
    return undefined;
  }
}

async function load(): Promise<GraphLoaded> {
  for (let found = findLayers(); found; found = findLayers()) {
    const { layers, source, directory } = found;
    try {
      const graph = complete ? undefined : asItIs(found);
      await checkIntact(layers);
      if (graph) return { graph, source, imported: 0, written: false };
      const { importHistory } = await import('./import-history.js');
      return { ...importHistory(data, { layers, say }), source };
    } catch (error) {
      warn(error);
      unsound.add(directory);
    }
  }
  const { importHistory } = await import('./import-history.js');
  return { ...importHistory(data, { layers: undefined, say }), source: 'objects' };
}

try {
  say({ kind: 'loaded', ...(await load()) });
} catch (error) {
  const told = error instanceof MemoirError ? error : unavailable(name, String(error), error);
  say({ kind: 'failed', error: packError(told) });
}
