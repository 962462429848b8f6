import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type IndexOptions, indexPack } from './index-pack.js';
import { wholeEnding } from './known-objects.js';
import { temporaryPrefix, writePack } from './write-pack.js';

/**
 * Takes a pack in as it comes: into a file, then through `indexPack`, then to where it is seen, as `writePack` does. Nobody else may do so in
 * the same directory at the same time.
 * @param directory - of packs
 * @param before - called when the pack was found whole, before anybody sees it
 * @returns the number of its objects, of which a pack without any leaves nothing
 * @throws what `pack` and `indexPack` throw, and as `replaceDurably`
 */
export async function receivePack(
  pack: AsyncIterable<Uint8Array>,
  directory: string,
  options: IndexOptions,
  before: () => void = () => undefined,
): Promise<number> {
  const { table } = await writePack(directory, '1', options.hash, async ({ fill, file }) => {
    await fill(pack);
    const indexed = await indexPack(file, options);
    if (indexed.table.count > 0) before();
    return indexed;
  });
  return table.count;
}

/** Removes what a crash left behind in a directory of packs. */
export function removeLeftovers(directory: string): void {
  const names = readdirSync(directory);
  const indexed = new Set(names.filter((name) => name.endsWith('.idx')).map((name) => name.slice(0, -'.idx'.length)));
  for (const name of names) {
    const [stem = '', ending = ''] = name.split(/(?=\.)/);
    const lone = (ending === '.pack' || ending === wholeEnding) && !indexed.has(stem);
    if (name.startsWith(temporaryPrefix) || name.endsWith('.tmp') || name.endsWith('.lock') || lone)
      rmSync(join(directory, name), { force: true });
  }
}
