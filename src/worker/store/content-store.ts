import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { quote } from '../../domain/errors.js';
import type { Edge } from '../../edge.js';
import { directorySynced, writtenAside } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import { copySparse, TooLong } from './copy.js';
import { addressOf, type ManifestFile, manifestBytes } from './manifest.js';
import { type OutputLimits, openOutputFile, outputFiles, tooLarge } from './output-files.js';
import type { RunDirectories } from './output-link.js';

/** How an output is to be stored. */
export type PutOptions = {
  /** How much it may be; unlimited if left out. */
  readonly limits?: OutputLimits;
  /** Where the run took place that made it, so that links to what is removed after it are told apart. */
  readonly run?: RunDirectories;
  /** Ends it, with its reason as the error. */
  readonly signal?: AbortSignal;
};

/**
 * A directory of contents, each a file named by the SHA-256 of its bytes. An error of the system, as from a full disk, is thrown as it
 * is; a MemoirError is the fault of what is to be stored.
 */
export type ContentStore = {
  /**
   * Stores all files under a directory, each of them whole or not at all. Gives the address of their manifest.
   * @throws MemoirError FAILED_PRECONDITION UNSTORABLE_OUTPUT naming what can't be stored: a file that is no file, link or directory, a
   * name that is not UTF-8, a link to what is removed after the run; RESOURCE_EXHAUSTED OUTPUT_TOO_LARGE
   */
  putDirectory(directory: string, options?: PutOptions): Promise<string>;
  /** Stores one file, by its path or opened for reading, as `name`. Gives the address of the manifest that has it alone. */
  putFile(file: string | FileHandle, name: string, signal?: AbortSignal): Promise<string>;
  /** Writes a file and removes it again. @throws Error of the system if that is not possible */
  probe(): Promise<void>;
};

/** What a store needs. */
export type ContentStoreSettings = {
  readonly edge: Pick<Edge, 'uuid' | 'now'>;
  /** Told of a content that was damaged and is replaced. */
  readonly onDamage?: (sha256: string) => void;
};

/** A temporary file that was not written to for so long was left by a process that died, in milliseconds. */
const leftoverAgeMs = 24 * 3_600_000;

/**
 * Opens a store, and creates its directories. Contents are written under a name of their own, made durable and then renamed, so
 * that whatever a crash leaves under a digest is whole; two processes that store the same content do no harm. What is there already is
 * read before it is trusted.
 */
export async function openContentStore(
  directory: string,
  { edge, onDamage = () => {} }: ContentStoreSettings,
): Promise<ContentStore> {
  const temporary = join(directory, 'tmp');
  makeDirectory(temporary);
  makeDirectory(join(directory, 'sha256'));
  await directorySynced(directory);
  await removeLeftovers(temporary, edge.now() - leftoverAgeMs);

  async function putBlob(write: (file: FileHandle, hash: Hash) => Promise<number>) {
    const hash = createHash('sha256');
    return writtenAside({ aside: join(temporary, edge.uuid()), mode: 0o444 }, async ({ file, replace }) => {
      const size = await write(file, hash);
      const sha256 = hash.digest('hex');
      if (!(await isStored(sha256))) await replace(await placeOf(sha256));
      return { size, sha256 };
    });
  }

  async function isStored(sha256: string): Promise<boolean> {
    // What cannot be read is replaced as what is wrong: the right bytes are at hand.
    const found = await hashOfBlob(blobPath(directory, sha256)).catch(() => 'unreadable');
    if (found !== undefined && found !== sha256) onDamage(sha256);
    return found === sha256;
  }

  /** The path of a content, in a directory that is there. */
  async function placeOf(sha256: string): Promise<string> {
    const path = blobPath(directory, sha256);
    const parent = dirname(path);
    if (makeDirectory(parent)) await directorySynced(dirname(parent));
    return path;
  }

  async function putManifest(files: readonly ManifestFile[]): Promise<string> {
    const bytes = manifestBytes(files);
    const { sha256 } = await putBlob(async (file, hash) => {
      hash.update(bytes);
      await file.writeFile(bytes);
      return bytes.length;
    });
    return addressOf(sha256);
  }

  async function putOpened(source: FileHandle, limit: number, signal: AbortSignal | undefined) {
    return putBlob((file, hash) => copySparse(source, file, hash, limit, signal));
  }

  return {
    async putDirectory(root, { limits = unlimited, run, signal } = {}) {
      let left = limits.bytes;
      const files: ManifestFile[] = [];
      for (const file of await outputFiles(root, limits, run, signal)) {
        signal?.throwIfAborted();
        if ('symlink' in file) {
          files.push(file);
          continue;
        }
        const source = await openOutputFile(file.at, file.path);
        try {
          const blob = await putOpened(source, left, signal);
          left -= blob.size;
          files.push({ path: file.path, ...blob, executable: file.executable });
        } catch (error) {
          // It grew since it was looked at.
          throw error instanceof TooLong ? tooLarge(`its files have more than ${limits.bytes} bytes`) : error;
        } finally {
          await source.close();
        }
      }
      return putManifest(files);
    },
    async putFile(file, name, signal) {
      const source = typeof file === 'string' ? await openOutputFile(file, name) : file;
      try {
        const blob = await putOpened(source, Number.POSITIVE_INFINITY, signal);
        return await putManifest([{ path: name, ...blob, executable: false }]);
      } finally {
        if (source !== file) await source.close();
      }
    },
    async probe() {
      const path = join(temporary, edge.uuid());
      try {
        const file = await open(path, 'wx', 0o444);
        try {
          await file.writeFile('probe');
        } finally {
          await file.close();
        }
        await lstat(join(directory, 'sha256'));
      } finally {
        await rm(path, { force: true });
      }
    },
  };
}

const unlimited: OutputLimits = { bytes: Number.POSITIVE_INFINITY, files: Number.POSITIVE_INFINITY };

/** Where in a store the content of a digest stands. */
export function blobPath(store: string, sha256: string): string {
  return join(store, 'sha256', sha256.slice(0, 2), sha256.slice(2));
}

/** The SHA-256 of what a file holds, in 64 hexadecimal digits; undefined if there is none. @throws Error of the system */
export async function hashOfBlob(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return undefined;
  if (!found.isFile()) throw new Error(`${quote(path)} in the content store is no file`);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), hash);
  return hash.digest('hex');
}

async function removeLeftovers(directory: string, beforeMs: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (found && found.mtimeMs < beforeMs) await rm(path, { force: true });
  }
}
