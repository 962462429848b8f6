import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { upsOf } from '../../../content/trees/link-target.js';
import { treeLimits, treeTooLarge } from '../../../content/trees/tree-limits.js';
import { invalid, type MemoirError, quote } from '../../../domain/errors.js';

/** A file or link that is to be put: where it lies, and its path in the tree that it becomes a part of. */
export type LocalFile =
  | { readonly path: string; readonly at: string; readonly executable: boolean }
  | { readonly path: string; readonly at: string; readonly symlink: string };

/** What lies at a path: a file, or a directory with all that is in it. */
export type Local = {
  /** Last part of the path. */
  readonly name: string;
  readonly isDirectory: boolean;
  /** A file alone has its name for its path. */
  readonly files: readonly LocalFile[];
};

/**
 * What lies at a path, without reading a file of it. A link that the path itself is, is followed; those in a directory are kept. Empty
 * directories are left out.
 * @throws MemoirError INVALID_ARGUMENT naming what cannot be put: nothing there, devices, names that are not UTF-8, links that lead out of the
 * directory, more than a tree may have
 */
export async function localFiles(given: string): Promise<Local> {
  const top = resolve(given);
  const name = basename(top);
  const found = await stat(top).catch((error: NodeJS.ErrnoException) => {
    throw unputtable(given, error.code === 'ENOENT' ? 'there is nothing' : `it cannot be read (${error.code})`);
  });
  if (found.isFile()) {
    return { name, isDirectory: false, files: [{ path: name, at: top, executable: isExecutable(found.mode) }] };
  }
  if (!found.isDirectory()) throw unputtable(given, 'it is neither a file nor a directory');
  const files: LocalFile[] = [];
  let entries = 0;
  // Without recursion, so that no depth exhausts the stack.
  const open: { readonly at: string; readonly prefix: string; readonly depth: number }[] = [
    { at: top, prefix: '', depth: 1 },
  ];
  for (let folder = open.pop(); folder; folder = open.pop()) {
    const { at: within, prefix, depth } = folder;
    if (depth > treeLimits.depth) {
      throw treeTooLarge(`more than ${treeLimits.depth} directories lie below each other in ${quote(given)}`);
    }
    for (const bytes of await readdir(within, { encoding: 'buffer' })) {
      const entry = bytes.toString('utf8');
      const path = prefix + entry;
      const at = join(within, entry);
      if (!Buffer.from(entry, 'utf8').equals(bytes)) throw unputtable(at, 'its name is not UTF-8');
      if (Buffer.byteLength(path) > treeLimits.path) {
        throw unputtable(at, `its path has more than ${treeLimits.path} bytes`);
      }
      if (++entries > treeLimits.entries) {
        throw treeTooLarge(`${quote(given)} has more than ${treeLimits.entries} entries`);
      }
      const one = await lstat(at);
      if (one.isDirectory()) open.push({ at, prefix: `${path}/`, depth: depth + 1 });
      else if (one.isFile()) files.push({ path, at, executable: isExecutable(one.mode) });
      else if (one.isSymbolicLink()) files.push({ path, at, symlink: await targetOf(at, depth) });
      else throw unputtable(at, 'it is neither a file nor a directory nor a symbolic link');
    }
  }
  return { name, isDirectory: true, files };
}

async function targetOf(at: string, depth: number): Promise<string> {
  const target = await readlink(at);
  const ups = upsOf(target);
  if (ups !== undefined && ups < depth) return target;
  throw unputtable(
    at,
    `it is a symbolic link to ${quote(target)}, which leads out of the directory; put what it leads to`,
  );
}

const isExecutable = (mode: number): boolean => (mode & 0o100) !== 0;

/** Opens a file to read it, if it still is one. @throws MemoirError INVALID_ARGUMENT naming it */
export async function openLocal(at: string): Promise<FileHandle> {
  const file = await open(at, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    throw unputtable(at, `it cannot be read (${error.code})`);
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw unputtable(at, 'it is no file any more');
}

/** The error for what cannot be put. */
export function unputtable(path: string, why: string): MemoirError {
  return invalid('', 'CANNOT_PUT', `${quote(path)} cannot be put: ${why}`);
}
