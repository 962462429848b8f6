import type { Layout } from '../../layout.js';
import { findObjectDirectories } from '../../objects/alternates.js';
import { BadCommitGraph, checkIntact, closeLayers, type GraphLayer, readGraphLayers } from '../graph-layers.js';
import { knownIntact } from './intact-files.js';
import { type RangeFound, rangeInLayers } from './range-in-layers.js';

/** Ends of a range, as commits, and where Memoir keeps a commit-graph of its own, if it may. */
export type EndsOnDisk = { readonly tip: string; readonly base: string; readonly keptIn: string | undefined };

/** Takes the steps of something that may take long. */
type Run = <T>(steps: Generator<undefined, T>) => Promise<T>;

/**
 * The commits of `base..tip` by the first commit-graph that has both. Undefined if none has, or if it is damaged: whoever loads all of it tells
 * what is wrong with it, and does without.
 * @throws Error of the system
 */
export async function rangeOnDisk(
  { objectDir, hash }: Layout,
  { tip, base, keptIn }: EndsOnDisk,
  run: Run,
  now: () => number = Date.now,
): Promise<RangeFound | undefined> {
  const known = knownIntact(keptIn);
  for (const directory of [...findObjectDirectories(objectDir), ...(keptIn === undefined ? [] : [keptIn])]) {
    let layers: GraphLayer[] | undefined;
    try {
      layers = readGraphLayers(directory, hash, known, now);
      if (!layers) continue;
      const intact = checkIntact(layers);
      // Both may fail, and either is waited for.
      const [found] = await Promise.all([run(rangeInLayers(layers, hash, tip, base)), intact]);
      if (found) return found;
    } catch (error) {
      if (!(error instanceof BadCommitGraph)) throw error;
    } finally {
      closeLayers(layers ?? []);
    }
  }
  return undefined;
}
