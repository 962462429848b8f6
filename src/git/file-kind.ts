import { type Stats, statSync } from 'node:fs';
import { errno } from './problem.js';

/** What a path leads to, symbolic links followed; undefined if to nothing. Throws what the system says if it cannot tell. */
export function fileKind(path: string): 'file' | 'directory' | 'other' | undefined {
  let stat: Stats | undefined;
  try {
    stat = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errno(error) !== 'ENOTDIR') throw error;
  }
  if (!stat) return undefined;
  return stat.isDirectory() ? 'directory' : stat.isFile() ? 'file' : 'other';
}
