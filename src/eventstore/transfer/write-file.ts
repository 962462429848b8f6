import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { directorySynced } from '../../files/durable-file.js';
import { type Compression, compressionOf, compressor, magicLength } from './compression.js';

/** How an export is written. */
export type WriteOptions = {
  readonly compression: Compression;
  /** Ends the writing. */
  readonly signal?: AbortSignal;
};

/** How a file is written. */
export type WriteFileOptions = WriteOptions & {
  /** Whether an earlier export of that name may be replaced. Nothing else ever is. */
  readonly force: boolean;
  /** Text that no other write uses at the same time, for the name of the file until it is whole. */
  readonly unique: string;
};

/** Writes an export to a stream, which stays open. @throws what `bytes` and the stream throw */
export function writeStream(to: Writable, bytes: AsyncIterable<Buffer>, options: WriteOptions): Promise<void> {
  return write(to, bytes, options, false);
}

async function write(
  to: Writable,
  bytes: AsyncIterable<Buffer>,
  { compression, signal }: WriteOptions,
  end: boolean,
): Promise<void> {
  const transform = compressor(compression);
  const options = { end, ...(signal && { signal }) };
  if (transform) await pipeline(bytes, transform, to, options);
  else await pipeline(bytes, to, options);
}

/**
 * Writes an export to a file that only its owner may read. It gets its name when all of it is on disk; until then nothing of that
 * name is there, and if it fails nothing is left.
 * @throws MemoirError ALREADY_EXISTS if there is such a file, INVALID_ARGUMENT if it cannot be written; what `bytes` throws
 */
export async function writeFile(path: string, bytes: AsyncIterable<Buffer>, options: WriteFileOptions): Promise<void> {
  const target = resolve(path);
  const { force, unique } = options;
  await checkTarget(path, target, force);
  const temporary = join(dirname(target), `.memoir-export-${unique}.partial`);
  try {
    const file = createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true });
    await write(file, bytes, options, true);
    // The end of a pipeline is that of the writing, which comes before the file is flushed and closed.
    if (!file.closed) await once(file, 'close');
    if (force) await rename(temporary, target);
    else await giveName(temporary, path, target);
    // Some file systems cannot do this for a directory; the export is whole all the same.
    await directorySynced(dirname(target)).catch(() => undefined);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw codeOf(error) === 'EEXIST' ? exists(path) : isOfFiles(error) ? unwritable(path, error) : error;
  }
}

/** Without replacing what came there meanwhile, as `rename` would. */
async function giveName(temporary: string, path: string, target: string): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw error;
    // Some file systems have no second names for a file.
    await checkTarget(path, target, false);
    return rename(temporary, target);
  }
  await rm(temporary);
}

/** An earlier export may be replaced if it is wanted; a log, a device, or anything else that a mistyped name may hit never is. */
async function checkTarget(path: string, target: string, force: boolean): Promise<void> {
  const found = await lstat(target).catch((error) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unwritable(path, error);
  });
  if (!found) return;
  if (!force) throw exists(path);
  if (!found.isFile() || (found.size > 0 && !(await isExport(target)))) {
    throw new MemoirError('ALREADY_EXISTS', 'FILE_EXISTS', `${quote(path)} is no export, and is not replaced`);
  }
}

async function isExport(target: string): Promise<boolean> {
  const file = await open(target, 'r');
  try {
    const head = Buffer.alloc(beginning.length);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    const text = head.toString('latin1', 0, bytesRead);
    return compressionOf(head.subarray(0, magicLength)) !== 'none' || text === beginning;
  } finally {
    await file.close();
  }
}

const beginning = '{"memoir_log":';

/** So that the name is on disk too. Some file systems cannot, and their names are on disk at once. */
function exists(path: string): MemoirError {
  return new MemoirError('ALREADY_EXISTS', 'FILE_EXISTS', `there is a file ${quote(path)}; --force replaces an export`);
}

function unwritable(path: string, error: unknown): MemoirError {
  return invalid('file', 'CANNOT_WRITE', `${quote(path)} cannot be written: ${(error as Error).message}`);
}

function isOfFiles(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
