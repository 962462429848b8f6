import type { HashAlgorithm } from '../hash.js';
import { checkedId } from '../objects/checked-id.js';
import type { GitObject, ObjectType } from '../objects/object.js';
import { openPackDirectory } from '../objects/pack-directory.js';
import type { PageCache } from '../objects/paged-file.js';

/** Objects that are known to be whole: everything that they name, and what that names, is among them. */
export type KnownObjects = {
  /** The object directory that they are in, which other threads can open too. */
  readonly directory?: string;
  typeOf(id: Buffer): ObjectType | undefined;
  /** An object, its hash verified. @throws Error if its file is damaged, or it is too large */
  read(id: Buffer): GitObject | undefined;
  /** Looks for packs that came. */
  rescan(): void;
  close(): void;
};

/** The ending of the file that says of a pack that it was looked through and found whole with those before it. */
export const wholeEnding = '.whole';

/**
 * What the packs of an object directory hold that were found whole.
 * @param largest - most bytes of an object that is read
 */
export function openKnownObjects(
  directory: string,
  hash: HashAlgorithm,
  pages: PageCache,
  largest: number,
): KnownObjects {
  const fail = (what: string, cause?: unknown) => new Error(`its mirror is damaged: ${what}`, { cause });
  const nowhere = { read: () => undefined, typeOf: () => undefined };
  const packs = openPackDirectory(directory, hash, pages, nowhere, fail, largest, wholeEnding);
  return {
    directory,
    typeOf: (id) => packs.typeOf(id),
    read(id) {
      const found = packs.read(id);
      if (!found) return undefined;
      if (!checkedId(hash, found.type, found.data).equals(id))
        throw fail(`object ${id.toString('hex')} has another hash`);
      return found;
    },
    rescan: () => packs.rescan(),
    close: () => packs.close(),
  };
}
