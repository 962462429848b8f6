import { MemoirError, messageOf } from '../../domain/errors.js';
import type { Call } from '../../threads/methods.js';
import { serveThread } from '../../threads/serve-thread.js';
import { findObjectDirectories } from '../objects/alternates.js';
import { unavailable } from '../problem.js';
import { BadCommitGraph, checkIntact, type GraphLayer, readGraphLayers, rowInLayers } from './graph-layers.js';
import type { GraphLoaded, HistoryToLoad, LoadTold } from './history-load.js';
import { noteIntact } from './on-disk/intact-files.js';
import { residentFromLayers } from './resident-from-layers.js';
import type { ResidentGraph } from './resident-graph.js';

// The thread that loads or imports a whole history. What only an import needs is not loaded before there is one.

type Found = { readonly layers: GraphLayer[]; readonly source: 'repository' | 'kept'; readonly directory: string };

async function load(wanted: HistoryToLoad, tell: (told: LoadTold) => void): Promise<GraphLoaded> {
  const { layout, starts, complete, keptIn } = wanted;
  const { hash } = layout;

  function warn(error: unknown): void {
    if (!(error instanceof BadCommitGraph)) throw error;
    tell({ without: 'commit-graph not used', why: error.message });
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
    const has = (layers: GraphLayer[]) => (id: string) => rowInLayers(layers, hash, Buffer.from(id, 'hex')) >= 0;
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

  for (let found = findLayers(); found; found = findLayers()) {
    const { layers, source, directory } = found;
    try {
      const graph = complete ? undefined : asItIs(found);
      await checkIntact(layers);
      noteIntact(keptIn, layers);
      if (graph) return { graph, source, imported: 0, written: false };
      const { importHistory } = await import('./import-history.js');
      return { ...importHistory(wanted, { layers, tell }), source };
    } catch (error) {
      warn(error);
      unsound.add(directory);
    }
  }
  const { importHistory } = await import('./import-history.js');
  return { ...importHistory(wanted, { layers: undefined, tell }), source: 'objects' };
}

const open = () => ({
  load: (wanted: HistoryToLoad, { tell }: Call<LoadTold>) =>
    load(wanted, tell).catch((error: unknown) => {
      throw error instanceof MemoirError ? error : unavailable(wanted.layout.name, messageOf(error), error);
    }),
});

/** The thread's type. */
export type GraphThread = typeof open;

serveThread(open);
