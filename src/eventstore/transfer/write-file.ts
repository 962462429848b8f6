import { lstat, open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import { writtenAside } from '../../files/durable-file.js';
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
export async function writeStream(to: Writable, bytes: AsyncIterable<Buffer>, options: WriteOptions): Promise<void> {
  const transform = compressor(options.compression);
  const how = { ...signalOf(options), end: false };
  if (transform) await pipeline(bytes, transform, to, how);
  else await pipeline(bytes, to, how);
}

/**
 * Writes an export to a file that only its owner may read. It gets its name when all of it is on disk; until then nothing of that
 * name is there, and if it fails nothing is left.
 * @throws MemoirError ALREADY_EXISTS if there is such a file, INVALID_ARGUMENT if it cannot be written; what `bytes` throws
 */
export async function writeFile(path: string, bytes: AsyncIterable<Buffer>, options: WriteFileOptions): Promise<void> {
  const target = resolve(path);
  const { force, unique, compression } = options;
  await checkTarget(path, target, force);
  const aside = join(dirname(target), `.memoir-export-${unique}.partial`);
  const transform = compressor(compression);
  try {
    await writtenAside({ aside, mode: 0o600 }, async ({ fill, replace, create }) => {
      if (transform) await pipeline(bytes, transform, fill, signalOf(options));
      else await pipeline(bytes, fill, signalOf(options));
      if (force) await replace(target);
      // Without replacing what came there meanwhile.
      else if (!(await create(target))) throw exists(path);
    });
  } catch (error) {
    throw isOfFiles(error) ? unwritable(path, error) : error;
  }
}

const signalOf = ({ signal }: WriteOptions) => (signal ? { signal } : {});

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

function exists(path: string): MemoirError {
  return new MemoirError('ALREADY_EXISTS', 'FILE_EXISTS', `there is a file ${quote(path)}; --force replaces an export`);
}

/** `error` is the system's, or has that as its cause. */
function unwritable(path: string, error: Error): MemoirError {
  const message = `${quote(path)} cannot be written: ${messageOf(error.cause ?? error)}`;
  return new MemoirError('INVALID_ARGUMENT', 'CANNOT_WRITE', message, { field: 'file', cause: error });
}

function isOfFiles(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
