import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, open, readdir, realpath, stat } from 'node:fs/promises';
import { MemoirError, quote } from '../../domain/errors.js';
import { fateOfLink, type RunDirectories, type StoredRoot } from './output-link.js';
import { reading, unstorable, utf8 } from './unstorable.js';

/** How much an output may be. */
export type OutputLimits = {
  /** Most bytes of all files together, holes included. */
  readonly bytes: number;
  /** Most files and symbolic links. */
  readonly files: number;
};

/** Something of an output that is to be stored. */
export type OutputFile =
  | { readonly path: string; readonly at: Buffer; readonly executable: boolean }
  | { readonly path: string; readonly symlink: string };

/** Longest path in an output, in bytes. Longer ones could not be unpacked everywhere. */
const longestPath = 3_072;

/**
 * Everything under an output directory, without reading a file of it. What a script locked is unlocked: permissions do not count,
 * but for the executable bit.
 * @throws MemoirError FAILED_PRECONDITION UNSTORABLE_OUTPUT naming what cannot be stored; RESOURCE_EXHAUSTED OUTPUT_TOO_LARGE
 */
export async function outputFiles(
  root: string,
  limits: OutputLimits,
  run: RunDirectories | undefined,
  signal: AbortSignal | undefined,
): Promise<OutputFile[]> {
  const found = await lstat(root).catch(() => undefined);
  if (!found?.isDirectory()) throw unstorable('the output directory is no longer a directory');
  const files: OutputFile[] = [];
  let bytes = 0;
  const within = run && { ...run, run: await realpath(run.run), worker: await realpath(run.worker) };
  await walk(Buffer.from(root), '', [{ real: await realpath(root), given: root, stored: '' }]);
  return files;

  async function walk(at: Buffer, prefix: string, roots: readonly StoredRoot[]): Promise<void> {
    for (const name of await list(at, prefix)) {
      signal?.throwIfAborted();
      const path = prefix + utf8(name, prefix);
      if (Buffer.byteLength(path) > longestPath) {
        throw unstorable(`${quote(path)} in the output directory has a path of more than ${longestPath} bytes`);
      }
      await visit(Buffer.concat([at, Buffer.from('/'), name]), path, roots);
    }
  }

  async function visit(full: Buffer, path: string, roots: readonly StoredRoot[]): Promise<void> {
    const { mode, size, ...what } = await reading(path, () => kindOf(full));
    if (what.directory) return walk(full, `${path}/`, roots);
    if (!what.link) {
      if (!what.file) {
        throw unstorable(
          `${quote(path)} in the output directory is neither a file nor a symbolic link nor a directory`,
        );
      }
      bytes += size;
      if (bytes > limits.bytes) throw tooLarge(`its files have more than ${limits.bytes} bytes`);
      add({ path, at: full, executable: (mode & 0o111) !== 0 });
      return;
    }
    const fate = await reading(path, () => fateOfLink(full, path, roots, within));
    if ('target' in fate) {
      add({ path, symlink: fate.target });
      return;
    }
    const real = Buffer.from(fate.follow);
    const leadsTo = await reading(path, () => stat(real));
    if (!leadsTo.isDirectory()) return visit(real, path, roots);
    await walk(real, `${path}/`, [{ real: fate.follow, given: fate.follow, stored: path }, ...roots]);
  }

  function add(file: OutputFile): void {
    if (files.length === limits.files) throw tooLarge(`it has more than ${limits.files} files`);
    files.push(file);
  }
}

/** The error for an output that is larger than it may be. */
export function tooLarge(why: string): MemoirError {
  return new MemoirError('RESOURCE_EXHAUSTED', 'OUTPUT_TOO_LARGE', `the output is too large: ${why}`);
}

/**
 * Opens a regular file of an output to read it, also one that the script took its own permission from. It may have been exchanged
 * for a link or a pipe since it was looked at.
 * @throws MemoirError UNSTORABLE_OUTPUT naming the path
 */
export async function openOutputFile(at: Buffer | string, path: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await reading(path, () => unlocking(at, 0o400, () => open(at, flags)));
  try {
    if ((await file.stat()).isFile()) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  throw unstorable(`${quote(path)} in the output directory is neither a file nor a symbolic link nor a directory`);
}

function list(at: Buffer, path: string): Promise<Buffer[]> {
  // Its entries can be looked at only where it can be searched too.
  return reading(path, () =>
    unlocking(at, 0o700, async () => {
      const names = await readdir(at, { encoding: 'buffer' });
      const [first] = names;
      if (first) await lstat(Buffer.concat([at, Buffer.from('/'), first]));
      return names;
    }),
  );
}

async function unlocking<T>(at: Buffer | string, bits: number, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    const { mode } = await lstat(at);
    await chmod(at, (mode & 0o7777) | bits);
    return read();
  }
}

async function kindOf(full: Buffer) {
  const found = await lstat(full);
  return {
    mode: found.mode,
    size: found.size,
    directory: found.isDirectory(),
    link: found.isSymbolicLink(),
    file: found.isFile(),
  };
}
