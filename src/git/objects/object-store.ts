import type { HashAlgorithm } from '../hash.js';
import { damaged, errno } from '../problem.js';
import { findObjectDirectories } from './alternates.js';
import { type LooseObjects, openLooseObjects } from './loose.js';
import { type GitObject, largestObject, type ObjectType } from './object.js';
import { rawId } from './object-id.js';
import { openPackDirectory, type PackDirectory } from './pack-directory.js';
import { createPageCache, type PageCache } from './paged-file.js';

/** The objects of one repository, with those of its alternates. Reads are synchronous and take memory within fixed bounds. */
export type ObjectStore = {
  /** Kind of an object; undefined if the repository does not have it. */
  typeOf(id: string): ObjectType | undefined;
  /** An object, its hash verified; undefined if the repository does not have it. At most of the bytes that the store was opened for. */
  read(id: string): GitObject | undefined;
  /**
   * Like `read`, by the raw id and without a check of the hash: for walks over a whole history. What is given holds until the next call.
   */
  readFleeting(id: Buffer): GitObject | undefined;
  /** Ids of the objects that begin with these four or more digits, in order, at most `limit` of them. */
  withPrefix(prefix: string, limit: number): string[];
  /** Forgets nothing that is right, but looks at once for packs that came or went. */
  rescan(): void;
  close(): void;
};

/** What an object store reads. */
export type ObjectStoreOptions = {
  /** Name of the repository, for errors. */
  readonly repository: string;
  /** The object directory. */
  readonly directory: string;
  readonly hash: HashAlgorithm;
  /** Where pages of packs and indexes are kept; may be shared. 32 MiB of its own otherwise. */
  readonly pages?: PageCache;
  /** Most bytes of one object; 32 MiB unless given. */
  readonly largest?: number;
};

/** Bytes of pages that a store keeps if it is given no cache. */
const ownPages = 32 * 1024 * 1024;

/**
 * Opens the objects of a repository.
 * @throws MemoirError DATA_LOSS naming repository and object from every reading function, where a file is truncated or corrupt
 */
export function openObjectStore({
  repository,
  directory,
  hash,
  pages,
  largest = largestObject,
}: ObjectStoreOptions): ObjectStore {
  const cache = pages ?? createPageCache(ownPages);
  let reading: Buffer | undefined;
  const fail = (what: string, cause?: unknown) =>
    damaged(repository, reading ? `object ${reading.toString('hex')}: ${what}` : what, cause);
  const directories: { loose: LooseObjects; packs: PackDirectory }[] = findObjectDirectories(directory).map((path) => ({
    loose: openLooseObjects(path, hash.hex, fail, largest),
    packs: openPackDirectory(path, hash, cache, { read: readRaw, typeOf: typeOfRaw }, fail, largest),
  }));

  function rescan(): void {
    for (const { packs } of directories) packs.rescan();
  }

  function once<T>(from: (place: (typeof directories)[number]) => T | undefined): T | undefined {
    for (const place of directories) {
      const found = from(place);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Looks again after a look at the directory, because git may just have packed what was loose or repacked what was packed. */
  function twice<T>(id: Buffer, from: (place: (typeof directories)[number]) => T | undefined): T | undefined {
    const outer = reading;
    reading = id;
    try {
      try {
        const found = once(from);
        if (found !== undefined) return found;
      } catch (error) {
        if (errno(error) !== 'ENOENT') throw error;
      }
      rescan();
      return once(from);
    } finally {
      reading = outer;
    }
  }

  function readRaw(id: Buffer): GitObject | undefined {
    return twice(id, ({ packs, loose }) => packs.read(id) ?? loose.read(id.toString('hex')));
  }

  /** A commit or tag, if it can be had without much ado; whatever hinders that is found by those who look properly. */
  function fleeting(id: Buffer): GitObject | undefined {
    try {
      for (const { packs } of directories) {
        const found = packs.fleeting(id);
        if (found) return found;
      }
    } catch {}
    return undefined;
  }

  function typeOfRaw(id: Buffer): ObjectType | undefined {
    return twice(id, ({ packs, loose }) => packs.typeOf(id) ?? loose.typeOf(id.toString('hex')));
  }

  return {
    typeOf: (id) => typeOfRaw(Buffer.from(id, 'hex')),
    read(id) {
      const raw = Buffer.from(id, 'hex');
      const object = readRaw(raw);
      if (object && !rawId(hash, object.type, object.data).equals(raw))
        throw damaged(repository, `object ${id} has another hash`);
      return object;
    },
    readFleeting: (id) => fleeting(id) ?? readRaw(id),
    withPrefix(prefix, limit) {
      rescan();
      const ids = new Set<string>();
      for (const { packs, loose } of directories) {
        for (const id of packs.withPrefix(prefix, limit)) ids.add(id);
        for (const id of loose.withPrefix(prefix)) ids.add(id);
      }
      return [...ids].sort().slice(0, limit);
    },
    rescan,
    close() {
      for (const { packs } of directories) packs.close();
    },
  };
}
