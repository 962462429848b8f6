import { createHash, randomUUID } from 'node:crypto';
import { type BigIntStats, rmSync } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hashInto } from '../../content/blob-files.js';
import { type BlobName, isHash } from '../../content/blob-name.js';
import { named } from '../../files/durable-file.js';
import { removeTree } from '../remove-tree.js';

/** What tells of a file whether it was changed, by whoever is not root: none of them can set the time of the last change of the inode. */
type Mark = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>;

type Entry = {
  readonly size: number;
  /** How the file was when its bytes were hashed last; undefined if they were not since the worker started. */
  mark: Mark | undefined;
  /** How many are using it. */
  pins: number;
};

/** Blobs that inputs are made of, on the worker's disk. */
export type InputCache = {
  /** Whether a blob is there, as far as is known without a look. */
  has(blob: BlobName): boolean;
  /**
   * Gives the path of a file with the bytes of a blob to `use`, which only reads it. `fetch` fills one that is not there, and is not believed.
   * An entry that was touched since it was hashed is hashed again, before and after its use, and replaced if it has other bytes.
   * @throws WrongBytes if `fetch` gave other bytes; what `fetch` and `use` throw; Error of the system
   */
  with<T>(blob: BlobName, fetch: (file: FileHandle) => Promise<void>, use: (path: string) => Promise<T>): Promise<T>;
};

/** What was fetched was not the blob. */
export class WrongBytes extends Error {
  override readonly name = 'WrongBytes';
  readonly blob: BlobName;

  constructor(blob: BlobName) {
    super(`the bytes that came for blob ${blob.hash} are not its own`);
    this.blob = blob;
  }
}

/** How often an entry is used that somebody changes at the same time. */
const mostTries = 3;

/** Most entries, whatever their size: each costs memory. */
const mostEntries = 1_000_000;

/**
 * Opens a cache in a directory that no other worker uses, of so many bytes at most; what was used least lately goes first. What an earlier
 * worker left there is hashed before it is used.
 * @param apart whether no run can reach it, so that runs may be given its files themselves, read-only; to link a file, and to remove the link, changes the time of its inode
 * @throws Error of the system
 */
export async function openInputCache(
  directory: string,
  most: number,
  { apart = false }: { readonly apart?: boolean } = {},
): Promise<InputCache> {
  const isSame = apart ? isSameContent : isUntouched;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // In the order of their last use.
  const entries = new Map<string, Entry>();
  let bytes = 0;
  const pathOf = (hash: string) => join(directory, hash);
  const filling = new Map<string, Promise<void>>();

  for (const name of await readdir(directory)) {
    const found = isHash(name) ? await lstat(pathOf(name)) : undefined;
    if (!found?.isFile()) {
      await removeTree(join(directory, name));
      continue;
    }
    // As runs are given it, whatever an earlier version made of it.
    if ((found.mode & 0o777) !== 0o444) await chmod(pathOf(name), 0o444);
    entries.set(name, { size: found.size, mark: undefined, pins: 0 });
    bytes += found.size;
  }
  evict();

  function evict(): void {
    if (bytes <= most && entries.size <= mostEntries) return;
    const gone: string[] = [];
    for (const [hash, { size, pins }] of entries) {
      if (bytes <= most && entries.size <= mostEntries) break;
      if (pins > 0 || filling.has(hash)) continue;
      forget(hash, size);
      gone.push(hash);
    }
    // At once, so that none is filled anew meanwhile.
    for (const hash of gone) rmSync(pathOf(hash), { recursive: true, force: true });
  }

  function forget(hash: string, size: number): void {
    if (entries.delete(hash)) bytes -= size;
  }

  /** Whether an entry has the bytes that it should have; it is hashed if it was touched. */
  async function isGood(blob: BlobName, entry: Entry): Promise<boolean> {
    const path = pathOf(blob.hash);
    const now = await lstat(path, { bigint: true }).catch(() => undefined);
    if (!now?.isFile()) return false;
    if (entry.mark && isSame(entry.mark, now)) return true;
    if (now.size !== BigInt(blob.size)) return false;
    const file = await open(path, 'r');
    try {
      const before = await file.stat({ bigint: true });
      const hash = createHash('sha256');
      await hashInto(hash, file);
      if (hash.digest('hex') !== blob.hash) return false;
      entry.mark = before;
      const after = await lstat(path, { bigint: true });
      return isSame(before, after);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
      return false;
    } finally {
      await file.close();
    }
  }

  async function fill(blob: BlobName, fetch: (file: FileHandle) => Promise<void>): Promise<void> {
    const aside = join(directory, `.${randomUUID()}.part`);
    try {
      const file = await open(aside, 'wx+', 0o600);
      try {
        await fetch(file);
        await file.chmod(0o444);
      } finally {
        await file.close();
      }
      // Whatever was put in its place.
      await removeTree(pathOf(blob.hash));
      await named(aside, pathOf(blob.hash));
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    }
    // Hashed under its name, since getting that changes the time of the inode.
    const entry: Entry = { size: blob.size, mark: undefined, pins: 0 };
    if (!(await isGood(blob, entry))) {
      await removeTree(pathOf(blob.hash));
      throw new WrongBytes(blob);
    }
    entries.set(blob.hash, entry);
    bytes += blob.size;
  }

  /** The entry, filled if need be. */
  async function entryOf(blob: BlobName, fetch: (file: FileHandle) => Promise<void>): Promise<Entry> {
    for (;;) {
      await filling.get(blob.hash)?.catch(() => undefined);
      const entry = entries.get(blob.hash);
      if (entry) {
        entry.pins++;
        if (await isGood(blob, entry)) return entry;
        entry.pins--;
        // Another may have replaced it meanwhile.
        if (entries.get(blob.hash) === entry) forget(blob.hash, entry.size);
      }
      if (entries.has(blob.hash) || filling.has(blob.hash)) continue;
      const filled = fill(blob, fetch).finally(() => filling.delete(blob.hash));
      filling.set(blob.hash, filled);
      await filled;
      const made = entries.get(blob.hash);
      if (!made) continue;
      made.pins++;
      return made;
    }
  }

  return {
    has: ({ hash }) => entries.has(hash),
    async with(blob, fetch, use) {
      for (let tries = 1; ; tries++) {
        const entry = await entryOf(blob, fetch);
        try {
          const used = await use(pathOf(blob.hash));
          // What was changed under the hand of who used it is used again.
          if (await isGood(blob, entry)) return used;
          if (tries >= mostTries) throw new Error(`others change blob ${blob.hash} in ${directory} all the time`);
        } finally {
          entry.pins--;
          if (entries.get(blob.hash) === entry) {
            entries.delete(blob.hash);
            entries.set(blob.hash, entry);
          }
          evict();
        }
      }
    },
  };
}

const isSameContent = (one: Mark, other: Mark): boolean =>
  one.dev === other.dev && one.ino === other.ino && one.size === other.size && one.mtimeNs === other.mtimeNs;

const isUntouched = (one: Mark, other: Mark): boolean => isSameContent(one, other) && one.ctimeNs === other.ctimeNs;
