import { hash as digest, type Hash, randomUUID } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { MemoirError } from '../domain/errors.js';
import { directorySynced, named, namedNow } from '../files/durable-file.js';
import { type BlobName, blobText, isHash } from './blob-name.js';
import type { Blob } from './content.js';
import { type Batches, openBatches } from './journal/batches.js';

/** Free space below which nothing more is taken: a part of the whole, and bytes, whichever is more. The log may be on the same disk. */
const leastFree = { part: 0.05, bytes: 2 * 1024 ** 3 };

/** How long a look at the free space holds, in milliseconds. */
const freeFor = 1_000;

/** How long nothing takes a blob away that was asked for, in milliseconds. The file's own time, which may be one to come, says since when that counts. */
export const heldFor = 3_600_000;

/** A blob that was asked for within so many milliseconds needs no new mark of it. */
const markedFor = 600_000;

/** Blobs of which it is remembered that they are marked. */
const mostMarks = 16_384;

/** Bytes that are read at once where a whole blob is hashed. */
const pieceBytes = 1024 * 1024;

/** Blobs as files: `blobs/<first two digits>/<hash>`, and what is not whole in `uploads`, what is damaged in `corrupt`, what is not on the disk yet as a file of its own in `batches`. */
export type BlobFiles = ReturnType<typeof blobFiles> & { readonly batches: Batches };

/** Where blobs lie, and the clock, in milliseconds since 1970-01-01T00:00Z. `free` tells of the disk, as statfs(2) has it. */
export type BlobFilesOptions = {
  readonly directory: string;
  readonly now: () => number;
  readonly free?: (directory: string) => Promise<{ readonly free: number; readonly whole: number }>;
};

/** Makes the folders if need be. @throws Error naming the folder if it cannot be made */
export async function openBlobFiles(options: BlobFilesOptions): Promise<BlobFiles> {
  const { directory } = options;
  for (const folder of ['blobs', 'uploads', 'corrupt', 'batches'])
    await mkdir(join(directory, folder), { recursive: true });
  const blobs = join(directory, 'blobs');
  const there = new Set(await readdir(blobs));
  for (let i = 0; i < 256; i++) {
    const name = i.toString(16).padStart(2, '0');
    if (!there.has(name)) await mkdir(join(blobs, name), { recursive: true });
  }
  await directorySynced(blobs);
  await directorySynced(directory);
  const files = blobFiles(options);
  return { ...files, batches: await openBatches(join(directory, 'batches'), files, options.now) };
}

function blobFiles({ directory, now, free = freeSpace }: BlobFilesOptions) {
  // Put together as they are, since this is done for every blob that is asked for.
  const blobs = join(directory, 'blobs') + sep;
  const folderOf = (hash: string) => blobs + hash.slice(0, 2);
  const pathOf = (hash: string) => `${folderOf(hash)}${sep}${hash}`;
  const aside = (name: string) => join(directory, 'uploads', name);
  let room: { readonly until: number; readonly free: number; readonly least: number } | undefined;

  /** Bytes of a blob; undefined if it is not there. What names say is in memory nearly always, where a look takes microseconds. */
  function size(hash: string): number | undefined {
    const found = statSync(pathOf(hash), { throwIfNoEntry: false });
    if (found && now() - found.mtimeMs > markedFor) mark(hash);
    return found?.size;
  }

  /**
   * Notes in the file's own time that somebody counts on it, from some time on. In one turn with the look whether it is there, so that nothing
   * takes it away in between.
   */
  function mark(hash: string, from = now()): void {
    const seconds = from / 1_000;
    utimesSync(pathOf(hash), seconds, seconds);
    noteMark(hash, from);
  }

  /** Since when some blobs are marked, as far as that is remembered: to ask a file takes as long as to read a small one. */
  const marks = new Map<string, number>();

  function noteMark(hash: string, at: number): void {
    if (marks.size >= mostMarks) marks.clear();
    marks.set(hash, at);
  }

  const markedLately = (hash: string): boolean => now() - (marks.get(hash) ?? Number.NEGATIVE_INFINITY) <= markedFor;

  function openNow(name: BlobName): number {
    try {
      return openSync(pathOf(name.hash), 'r');
    } catch (error) {
      throw codeOf(error) === 'ENOENT' ? notFound(name) : error;
    }
  }

  function markIfThere(hash: string): void {
    try {
      mark(hash);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  return {
    aside,
    /** Where a blob lies, if it is there. */
    pathOf: ({ hash }: BlobName): string => pathOf(hash),
    /** Whether the blob is there, whole as far as its size tells; it is marked as asked for. */
    has: ({ hash, size: bytes }: BlobName): boolean => size(hash) === bytes,

    /** Holds a blob for so many milliseconds at least. @returns whether it is there */
    async hold({ hash, size: bytes }: BlobName, ms: number): Promise<boolean> {
      const from = now() + ms - heldFor;
      const found = statSync(pathOf(hash), { throwIfNoEntry: false });
      if (found?.size !== bytes) return false;
      if (found.mtimeMs < from) mark(hash, from);
      return true;
    },

    /** Whether a blob was put aside once, since its bytes were not its own. */
    wasCorrupt: ({ hash }: Pick<BlobName, 'hash'>): boolean =>
      statSync(join(directory, 'corrupt', hash), { throwIfNoEntry: false }) !== undefined,

    /** Opens a blob, which marks it as asked for unless `unmarked`. @throws MemoirError NOT_FOUND BLOB_NOT_FOUND */
    async open(name: BlobName, unmarked = false): Promise<FileHandle> {
      let file: FileHandle;
      try {
        file = await open(pathOf(name.hash));
      } catch (error) {
        throw codeOf(error) === 'ENOENT' ? notFound(name) : error;
      }
      const { size: bytes, mtimeMs } = await file.stat();
      if (bytes === name.size) {
        if (!unmarked && now() - mtimeMs > markedFor) markIfThere(name.hash);
        return file;
      }
      await file.close();
      throw notFound(name);
    },

    /** All of a small blob, in memory of its size; undefined if its bytes are not its own. @throws as `open` */
    async get(name: BlobName, into: Uint8Array<ArrayBuffer>): Promise<Uint8Array | undefined> {
      const file = await this.open(name);
      try {
        const { bytesRead } = await file.read(into, 0, into.length, 0);
        return bytesRead === name.size && digest('sha256', into) === name.hash ? into : undefined;
      } finally {
        await file.close();
      }
    },

    /** The same at once, which holds this thread up where the disk has to be waited for. */
    getNow(name: BlobName, into: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
      const file = openNow(name);
      try {
        if (!markedLately(name.hash)) {
          const { mtimeMs } = fstatSync(file);
          if (now() - mtimeMs > markedFor) markIfThere(name.hash);
          else noteMark(name.hash, mtimeMs);
        }
        const read = readSync(file, into, 0, into.length, 0);
        if (read === name.size && digest('sha256', into) === name.hash) return into;
        if (fstatSync(file).size !== name.size) throw notFound(name);
        return undefined;
      } finally {
        closeSync(file);
      }
    },

    /** Since when a blob counts as asked for, and its size; undefined if it is not there. */
    askedSince({ hash }: Pick<BlobName, 'hash'>): { readonly at: number; readonly size: number } | undefined {
      const found = statSync(pathOf(hash), { throwIfNoEntry: false });
      return found && { at: found.mtimeMs, size: found.size };
    },

    /** Removes a blob that is there, at once. `syncFolders` is to follow. */
    remove({ hash }: Pick<BlobName, 'hash'>): void {
      marks.delete(hash);
      rmSync(pathOf(hash), { force: true });
    },

    /** Removes what was put aside of a blob. */
    removeCorrupt: ({ hash }: Pick<BlobName, 'hash'>): Promise<void> =>
      rm(join(directory, 'corrupt', hash), { force: true }),

    /** The disk that blobs lie on, in bytes. */
    disk: () => free(directory),

    /** @throws MemoirError RESOURCE_EXHAUSTED CONTENT_FULL if there is no room for so many bytes more */
    async checkRoom(bytes: number): Promise<void> {
      if (!room || room.until <= now()) {
        const { free: left, whole } = await free(directory);
        const least = Math.max(leastFree.bytes, whole * leastFree.part);
        room = { until: now() + freeFor, free: left, least };
      }
      if (room.free - bytes >= room.least) {
        room = { ...room, free: room.free - bytes };
        return;
      }
      throw new MemoirError(
        'RESOURCE_EXHAUSTED',
        'CONTENT_FULL',
        `no room for ${bytes} bytes of content: ${Math.floor(room.free)} are free, of which ${Math.ceil(room.least)} are kept for the log`,
      );
    },

    /** Gives a file that was written and synced aside its name. `syncFolders` is to follow. */
    place: (from: string, { hash }: BlobName): void => namedNow(from, pathOf(hash)),

    /**
     * Writes a blob at once, aside, and gives it its name, in place of what is there. Nothing is synced: a crash may leave a part of it, or nothing. To make files in one folder
     * and move them costs less than to make them in many, where a file system looks for room anew in each.
     * @throws the system's error; then what was there is there
     */
    replace({ name: { hash }, data }: Blob): void {
      const at = aside(randomUUID());
      try {
        const file = openSync(at, 'wx', 0o400);
        try {
          for (let done = 0; done < data.length; ) done += writeSync(file, data, done);
        } finally {
          closeSync(file);
        }
        namedNow(at, pathOf(hash));
      } catch (error) {
        rmSync(at, { force: true });
        throw error;
      }
    },

    /** Makes names of blobs outlive a crash. */
    async syncFolders(hashes: Iterable<string>): Promise<void> {
      await Promise.all([...new Set(Array.from(hashes, folderOf))].map(directorySynced));
    },

    /** Takes a blob away whose bytes are not its own, and keeps it aside for people to look at. */
    async quarantine({ hash }: BlobName): Promise<void> {
      await named(pathOf(hash), join(directory, 'corrupt', hash)).catch((error) => {
        if (codeOf(error) !== 'ENOENT') throw error;
      });
      await directorySynced(folderOf(hash));
    },

    /** Every blob that is there, in the order of the hashes. */
    async *all(): AsyncGenerator<BlobName> {
      for (let i = 0; i < 256; i++) {
        const prefix = i.toString(16).padStart(2, '0');
        for (const hash of (await readdir(join(directory, 'blobs', prefix))).sort()) {
          if (!isHash(hash)) continue;
          const found = await stat(pathOf(hash)).catch(() => undefined);
          if (found) yield { hash, size: found.size };
        }
      }
    },

    /** Removes what was written aside and not touched for so many milliseconds. */
    async sweepUploads(olderThan: number): Promise<number> {
      let removed = 0;
      for (const name of await readdir(join(directory, 'uploads'))) {
        const found = await stat(aside(name)).catch(() => undefined);
        if (!found || now() - found.mtimeMs <= olderThan) continue;
        await rm(aside(name), { force: true });
        removed++;
      }
      return removed;
    },
  };
}

/** Gives an open file to a hash from its beginning on, and how many bytes it has. `each` is called after every piece with its bytes. */
export async function hashInto(hash: Hash, file: FileHandle, each?: (bytes: number) => Promise<void>): Promise<number> {
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return at;
    hash.update(piece.subarray(0, bytesRead));
    at += bytesRead;
    await each?.(bytesRead);
  }
}

/** The error for a blob that is not there. */
export function notFound(name: BlobName): MemoirError {
  return new MemoirError('NOT_FOUND', 'BLOB_NOT_FOUND', `blob ${blobText(name)} is not here`);
}

/** The error for a blob whose bytes were not its own. */
export function corrupt(name: BlobName): MemoirError {
  return new MemoirError(
    'DATA_LOSS',
    'BLOB_CORRUPT',
    `the bytes of blob ${blobText(name)} are not its own any more; it was put aside and can be uploaded again`,
  );
}

/** The error for bytes that are not those of the name that they were given. */
export function mismatch(name: BlobName, found: { readonly hash?: string; readonly size: number }): MemoirError {
  const what = found.size === name.size ? `have SHA-256 ${found.hash}` : `are ${found.size}`;
  return new MemoirError(
    'INVALID_ARGUMENT',
    'DIGEST_MISMATCH',
    `the bytes given for blob ${blobText(name)} ${what}; nothing was kept`,
    {
      field: 'digest',
      metadata: { blob: blobText(name) },
    },
  );
}

async function freeSpace(directory: string): Promise<{ free: number; whole: number }> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { free: bavail * bsize, whole: blocks * bsize };
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
