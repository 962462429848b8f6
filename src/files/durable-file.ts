import { closeSync, existsSync, fsyncSync, linkSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, quote } from '../domain/errors.js';

/** How a file is written. */
export type DurableFile = {
  /**
   * Where it is written until it is whole, on the same file system. The path and ".lock" unless given, which git never takes for a
   * ref.
   */
  readonly aside?: string;
  /** Permissions; 0o666 less the umask unless given. */
  readonly mode?: number;
  /** "later" if the caller calls `syncDirectory` for the folder, once for many files. */
  readonly folder?: 'now' | 'later';
};

/** What a file is to hold: one piece, or several in their order. */
export type Content = string | Iterable<Uint8Array>;

/**
 * Puts a file in place of what is there, if anything. When this returns it outlives a crash of the machine; after a crash before,
 * either the one or the other is there, whole. Two at a time need an `aside` each.
 * @throws Error naming the path, with the system's code and the system's error as its cause; then nothing was replaced or is left
 */
export function replaceDurably(
  path: string,
  content: Content,
  { aside = `${path}.lock`, mode, folder = 'now' }: DurableFile = {},
): void {
  try {
    fill(openSync(aside, 'w', mode), content);
    renameSync(aside, path);
    if (folder === 'now') syncDirectory(dirname(path));
  } catch (error) {
    rmSync(aside, { force: true });
    throw unwritten(path, error);
  }
}

/** Copies a file as `replaceDurably` writes one. */
export function copyDurably(from: string, to: string, how?: DurableFile): void {
  replaceDurably(to, piecesOf(from), how);
}

function* piecesOf(path: string): Generator<Uint8Array> {
  const file = openSync(path, 'r');
  try {
    const room = Buffer.alloc(1024 * 1024);
    for (let length = readSync(file, room); length > 0; length = readSync(file, room)) yield room.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

/**
 * As `replaceDurably`, but only where nothing is yet, whoever else tries at the same moment. Nobody else may use `aside`.
 * @returns false if something was there, which stays
 * @throws as `replaceDurably`
 */
export function createDurably(path: string, content: Content, { aside, mode }: AsideFile): boolean {
  try {
    fill(openSync(aside, 'wx', mode), content);
    linkSync(aside, path);
    syncDirectory(dirname(path));
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST' && existsSync(path)) return false;
    throw unwritten(path, error);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** A file that is open aside, under a name that nobody else uses, until it is whole. */
export type OpenAside = {
  readonly file: FileHandle;
  /** Writes pieces in their order. @throws what `pieces` throws, and the system's error */
  fill(pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Puts what was written in place of what is at `path`, if anything, as `replaceDurably` does; that is the end of the writing.
   * @throws as `replaceDurably`
   */
  replace(path: string, how?: Pick<DurableFile, 'folder'>): Promise<void>;
  /**
   * As `replace`, but only where nothing is yet. On a file system without hard links, it may replace what comes there at the same moment.
   * @returns false if something was there, which stays
   */
  create(path: string): Promise<boolean>;
};

/** Where a file is written until it is whole, and its permissions. */
export type AsideFile = Required<Pick<DurableFile, 'aside' | 'mode'>>;

/**
 * Writes a file as `replaceDurably` does, but without holding the thread up, piece by piece, and where its name may be known only when it is
 * written. What `write` has not put anywhere is removed when it is done.
 * @throws what `write` throws; as `replaceDurably` if the file aside cannot be made
 */
export async function writtenAside<T>(
  { aside, mode }: AsideFile,
  write: (opened: OpenAside) => Promise<T>,
): Promise<T> {
  const file = await open(aside, 'wx', mode).catch((error) => {
    throw unwritten(aside, error);
  });
  let placed = false;

  async function place(path: string, folder: DurableFile['folder'], give: () => Promise<boolean>): Promise<boolean> {
    try {
      await file.sync();
      await file.close();
      const given = await give();
      if (given && folder !== 'later') await directorySynced(dirname(path));
      return given;
    } catch (error) {
      throw unwritten(path, error);
    }
  }

  async function renamed(path: string): Promise<boolean> {
    await rename(aside, path);
    placed = true;
    return true;
  }

  async function linked(path: string): Promise<boolean> {
    try {
      await link(aside, path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST' || (await isThere(path))) return false;
      return renamed(path);
    }
  }

  try {
    return await write({
      file,
      async fill(pieces) {
        for await (const piece of pieces) await file.writeFile(piece);
      },
      replace: async (path, { folder } = {}) => void (await place(path, folder, () => renamed(path))),
      create: (path) => place(path, 'now', () => linked(path)),
    });
  } finally {
    await file.close();
    if (!placed) await rm(aside, { force: true });
  }
}

/**
 * Gives a file that was written and synced aside its name, without holding the thread up, in place of what is there, if anything. That
 * outlives a crash of the machine once `directorySynced` was called for its folder.
 * @throws as `replaceDurably`; the file aside stays then
 */
export async function named(aside: string, path: string): Promise<void> {
  try {
    await rename(aside, path);
  } catch (error) {
    throw unwritten(path, error);
  }
}

/** As `named`, at once: for many files, whose names take microseconds each. */
export function namedNow(aside: string, path: string): void {
  try {
    renameSync(aside, path);
  } catch (error) {
    throw unwritten(path, error);
  }
}

/** Makes the names in a directory outlive a crash of the machine. @throws what the system says */
export function syncDirectory(path: string): void {
  try {
    const directory = openSync(path, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch (error) {
    if (!cannotSync.includes(codeOf(error) ?? '')) throw error;
  }
}

/** As `syncDirectory`, without holding the thread up. */
export async function directorySynced(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    if (!cannotSync.includes(codeOf(error) ?? '')) throw error;
  }
}

/**
 * What systems say where this cannot be done for a directory, or for one that may be written to and not read: names are as durable there
 * as they can be.
 */
const cannotSync: readonly string[] = ['EINVAL', 'ENOTSUP', 'ENOSYS', 'EISDIR', 'EPERM', 'EACCES'];

/** With what programs tell errors of the system by. */
function unwritten(path: string, cause: unknown): Error {
  const { code, errno, syscall } = cause as NodeJS.ErrnoException;
  const error = new Error(`${quote(path)} cannot be written: ${messageOf(cause)}`, { cause });
  return Object.assign(error, { code, ...(syscall !== undefined && { errno, syscall }) });
}

async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

function fill(file: number, content: Content): void {
  try {
    for (const piece of typeof content === 'string' ? [Buffer.from(content)] : content) {
      for (let at = 0; at < piece.length; ) at += writeSync(file, piece, at);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
