import { closeSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type OpenAside, replaceDurably, writtenAside } from '../../files/durable-file.js';
import type { HashAlgorithm } from '../hash.js';
import type { IndexedPack } from './index-pack.js';
import { wholeEnding } from './known-objects.js';
import { writePackIndex } from './write-index.js';

/** How the names of files begin that are still being written. git takes them for leftovers of its own and prunes them. */
export const temporaryPrefix = 'tmp_pack_memoir_';

/** A pack that is being written. */
export type OpenPack = Pick<OpenAside, 'fill'> & {
  /** Its file, open for reading and writing. */
  readonly file: number;
};

/** The name that git gives to a pack with a checksum, without an ending. */
export const packStem = (checksum: Buffer): string => `pack-${checksum.toString('hex')}`;

/**
 * Writes a pack aside, then puts it under the name that git gives it, with its index and the mark that it is whole. Nothing of it is seen
 * before all of it is; one without objects leaves nothing.
 * @param directory - of packs
 * @param name - of the file aside, behind `temporaryPrefix`; nobody else may write under it at the same time
 * @throws what `write` throws, and as `replaceDurably`
 */
export async function writePack(
  directory: string,
  name: string,
  hash: HashAlgorithm,
  write: (pack: OpenPack) => Promise<IndexedPack>,
): Promise<IndexedPack> {
  const aside = join(directory, temporaryPrefix + name);
  rmSync(aside, { force: true });
  return writtenAside({ aside, mode: 0o600 }, async ({ file, fill, replace }) => {
    const again = openSync(aside, 'r+');
    try {
      const indexed = await write({ fill, file: again });
      const { table, sorted, checksum } = indexed;
      if (table.count === 0) return indexed;
      const path = join(directory, packStem(checksum));
      await file.chmod(0o400);
      replaceDurably(path + wholeEnding, '', { folder: 'later' });
      await replace(`${path}.pack`, { folder: 'later' });
      // What has an index is seen.
      writePackIndex(`${path}.idx`, table, sorted, checksum, hash);
      return indexed;
    } finally {
      closeSync(again);
    }
  });
}
