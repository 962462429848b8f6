import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { quote } from '../domain/errors.js';

/** How a file is written. */
export type DurableFile = {
  /**
   * Where it is written until it is whole, on the same file system. The path and ".lock" unless given, which git never takes for a
   * ref.
   */
  readonly aside?: string;
  /** Permissions; 0o666 less the umask unless given. */
  readonly mode?: number;
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
  { aside = `${path}.lock`, mode }: DurableFile = {},
): void {
  try {
    fill(openSync(aside, 'w', mode), content);
    renameSync(aside, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(aside, { force: true });
    throw unwritten(path, error);
  }
}

/**
 * As `replaceDurably`, but only where nothing is yet, whoever else tries at the same moment. Nobody else may use `aside`.
 * @returns false if something was there, which stays
 * @throws as `replaceDurably`
 */
export function createDurably(path: string, content: Content, { aside, mode }: Required<DurableFile>): boolean {
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

/** Makes the names in a directory outlive a crash of the machine. @throws what the system says */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** As `syncDirectory`, without holding the thread up. */
export async function directorySynced(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function unwritten(path: string, cause: unknown): Error {
  const error = new Error(`${quote(path)} cannot be written: ${(cause as Error).message}`, { cause });
  return Object.assign(error, { code: codeOf(cause) });
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
