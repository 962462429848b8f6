import type { Stats } from 'node:fs';
import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { MemoirError, quote } from '../../domain/errors.js';

/** Where entries are made. */
export type Placing = {
  /** The directory, without links in its path. */
  readonly root: string;
  readonly overwrite: boolean;
  /** Directories that were made, or found. */
  readonly made: Set<string>;
};

/** Makes directories below each other. @throws MemoirError ALREADY_EXISTS naming one in whose place something else lies, a link for one */
export async function makeDirectories({ root, made }: Placing, parts: readonly string[]): Promise<void> {
  let path = root;
  for (const part of parts) {
    path = join(path, part);
    if (made.has(path)) continue;
    const found = await lstat(path).catch(() => undefined);
    if (!found) await mkdir(path).catch(unlessThere);
    const there = found ?? (await lstat(path));
    if (!there.isDirectory()) {
      throw inTheWay(
        path,
        `is ${there.isSymbolicLink() ? 'a link' : 'no directory'}, and nothing is written through it`,
      );
    }
    made.add(path);
  }
}

/** Makes a link, in the place of another file or link only if that is wanted. @throws MemoirError ALREADY_EXISTS */
export async function makeLink({ root, overwrite }: Placing, at: string, target: string): Promise<void> {
  const path = join(root, at);
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSymbolicLink() && (await readlink(path)) === target) return;
  checkReplaced(path, found, overwrite);
  if (found) await rm(path);
  await symlink(target, path);
}

/** Lets something else be put in the place of what is at a path, if anything is. @throws MemoirError ALREADY_EXISTS if that is not to be touched */
export function checkReplaced(path: string, found: Stats | undefined, overwrite: boolean): void {
  if (found?.isDirectory()) throw inTheWay(path, 'is a directory');
  if (found && !overwrite) throw inTheWay(path, 'is there already, and is another one; --overwrite replaces it');
}

function inTheWay(path: string, why: string): MemoirError {
  return new MemoirError('ALREADY_EXISTS', 'IN_THE_WAY', `${quote(path)} ${why}`);
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
