import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it that are missing. `recursive` of Node.js tries for ever where a directory that is there takes
 * no other, such as /proc, with and without promises.
 * @returns whether it was made, or was there
 * @throws the system's error, such as ENOENT, ENOTDIR, EEXIST, EACCES or ENOSPC, if there can be none
 */
export function makeDirectory(path: string, options: { readonly mode?: number } = {}): boolean {
  try {
    return made(path, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
  }
  makeDirectory(dirname(path), options);
  return made(path, options);
}

function made(path: string, options: { readonly mode?: number }): boolean {
  try {
    mkdirSync(path, options);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return false;
    throw error;
  }
}
