import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { replaceDurably, syncDirectory } from '../../files/durable-file.js';
import { fileKind } from '../file-kind.js';
import type { HashAlgorithm } from '../hash.js';
import { openPackIndex } from '../objects/pack-index.js';
import { createPageCache } from '../objects/paged-file.js';
import type { KnownObjects } from '../packs/known-objects.js';
import { wholePacks } from '../packs/merge-packs.js';
import { type Roots, reachedFrom } from './reachable.js';
import { rewritePack } from './rewrite-pack.js';

/** What was removed. */
export type Pruned = { readonly objects: number; readonly packs: number };

/** The file that names the packs which are to be removed, while they are. */
const journal = 'memoir-removing';

const indexPages = 16 * 1024 * 1024;

/**
 * Removes from the packs of a repository what is not reached. Each pack that has such objects is written anew without them, and once all of that
 * is on the disk the old ones go, which whoever opens the repository for writing next goes on with by `finishRemoving` if this is cut short. So
 * what is there is whole at any time: what a pack names is in it or in another one. Readers go on with what they opened, and find the rest
 * in the new packs. Nobody else may write there meanwhile.
 * @param path - of the repository
 * @throws Error if something that is reached is missing or damaged, and as `replaceDurably`; nothing was removed then
 */
export async function prunePacks(
  path: string,
  roots: Roots,
  known: KnownObjects,
  shallow: ReadonlySet<string>,
  hash: HashAlgorithm,
): Promise<Pruned> {
  const directory = join(path, 'objects/pack');
  const pages = createPageCache(indexPages);
  const damaged = (what: string) => new Error(`its mirror is damaged: pack index: ${what}`);
  const packs = wholePacks(directory).map((stem) => ({
    stem,
    index: openPackIndex(join(directory, `${stem}.idx`), hash, pages, damaged),
  }));
  try {
    const tables = packs.map(({ index }) => index.ids);
    const marks = reachedFrom(roots, tables, known, shallow, hash);
    const old: string[] = [];
    let objects = 0;
    for (const [i, { stem, index }] of packs.entries()) {
      const own = marks[i] as Uint8Array;
      const gone = own.reduce((sum, mark) => sum + (mark ? 0 : 1), 0);
      if (gone === 0) continue;
      objects += gone;
      await rewritePack(directory, stem, index, own, known, hash);
      old.push(stem);
    }
    if (old.length > 0) {
      replaceDurably(join(path, journal), old.map((stem) => `${stem}\n`).join(''));
      finishRemoving(path);
      known.rescan();
    }
    return { objects, packs: old.length };
  } finally {
    for (const { index } of packs) index.close();
  }
}

/** Removes the packs that `prunePacks` was about to remove when it was cut short. */
export function finishRemoving(path: string): void {
  const file = join(path, journal);
  if (fileKind(file) !== 'file') return;
  const directory = join(path, 'objects/pack');
  const there = new Set(readdirSync(directory));
  for (const stem of readFileSync(file, 'latin1').split('\n')) {
    if (!/^pack-[0-9a-f]+$/.test(stem)) continue;
    // What has no index is not looked for; without its mark it would be a leftover.
    for (const ending of ['.idx', '.whole', '.pack'])
      if (there.has(stem + ending)) rmSync(join(directory, stem + ending), { force: true });
  }
  syncDirectory(directory);
  rmSync(file, { force: true });
  syncDirectory(path);
}
