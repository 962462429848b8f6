import { closeSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { replaceDurably, writtenAside } from '../../files/durable-file.js';
import { type IndexOptions, indexPack } from './index-pack.js';
import { wholeEnding } from './known-objects.js';
import { writePackIndex } from './write-index.js';

/** How the names of files begin that are still being written. git takes them for leftovers of its own and prunes them. */
export const temporaryPrefix = 'tmp_pack_memoir_';

/**
 * Takes a pack in as it comes: into a file, then through `indexPack`, then under the name that git gives it, with its index and the mark
 * that it is whole. Nothing of it is seen before all of it is. Nobody else may do so in the same directory at the same time.
 * @param directory - of packs
 * @param before - called when the pack was found whole, before anybody sees it; gets the ids, raw, of its objects by a look-up
 * @returns the number of its objects, of which a pack without any leaves nothing
 * @throws what `pack` and `indexPack` throw, and as `replaceDurably`
 */
export async function receivePack(
  pack: AsyncIterable<Uint8Array>,
  directory: string,
  options: IndexOptions,
  before: () => void = () => undefined,
): Promise<number> {
  const aside = join(directory, `${temporaryPrefix}1`);
  rmSync(aside, { force: true });
  return writtenAside({ aside, mode: 0o600 }, async ({ file, fill, replace }) => {
    await fill(pack);
    const again = openSync(aside, 'r+');
    try {
      const { table, sorted, checksum } = await indexPack(again, options);
      if (table.count === 0) return 0;
      before();
      const path = join(directory, `pack-${checksum.toString('hex')}`);
      await file.chmod(0o400);
      replaceDurably(path + wholeEnding, '', { folder: 'later' });
      await replace(`${path}.pack`, { folder: 'later' });
      // What has an index is seen.
      writePackIndex(`${path}.idx`, table, sorted, checksum, options.hash);
      return table.count;
    } finally {
      closeSync(again);
    }
  });
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
