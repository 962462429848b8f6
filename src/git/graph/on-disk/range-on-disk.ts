import type { Layout } from '../../layout.js';
import { findObjectDirectories } from '../../objects/alternates.js';
import { BadCommitGraph, closeLayers, type GraphLayer, readGraphLayers } from '../graph-layers.js';
import { checkOnDisk } from './check-on-disk.js';
import { knownIntact } from './intact-files.js';
import { type RangeFound, rangeInLayers } from './range-in-layers.js';

/** Ends of a range, as commits, and where Memoir keeps a commit-graph of its own, if it may. */
export type EndsOnDisk = { readonly tip: string; readonly base: string; readonly keptIn: string | undefined };

/** Takes the steps of something that may take long. */
type Run = <T>(steps: Generator<undefined, T>) => Promise<T>;

/**
 * The commits of `base..tip` by the first commit-graph that has both, or that they seem to be so many that all is sooner loaded. Undefined if none has,
 * or if it is damaged: whoever loads all of it tells what is wrong with it, and does without.
 * @throws Error of the system
 */
export async function rangeOnDisk(
  { objectDir, hash }: Layout,
  { tip, base, keptIn }: EndsOnDisk,
  run: Run,
  now: () => number = Date.now,
): Promise<RangeFound | 'long' | undefined> {
  const known = knownIntact(keptIn);
  for (const directory of [...findObjectDirectories(objectDir), ...(keptIn === undefined ? [] : [keptIn])]) {
    let layers: GraphLayer[] | undefined;
    try {
      layers = readGraphLayers(directory, hash, true, now);
      if (!layers) continue;
      const found = await run(rangeInLayers(layers, hash, tip, base));
      if (!found) continue;
      if (found !== 'long') await run(checkOnDisk(layers, hash, known));
      return found;
    } catch (error) {
      if (!(error instanceof BadCommitGraph)) throw error;
    } finally {
      closeLayers(layers ?? []);
    }
  }
  return undefined;
}
