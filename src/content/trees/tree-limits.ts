import { MemoirError } from '../../domain/errors.js';

/** How large a tree may be, with each directory counted as often as it stands in the tree. */
export type TreeLimits = {
  /** Most files, links and directories. */
  readonly entries: number;
  /** Most bytes of all files together. */
  readonly bytes: number;
  /** Most directories below each other. */
  readonly depth: number;
  /** Longest path, in bytes of UTF-8: longer ones could not be unpacked everywhere. */
  readonly path: number;
};

/** What holds everywhere: a million entries, 4 TiB, 1,000 directories below each other, paths of 3,072 bytes. */
export const treeLimits: TreeLimits = { entries: 1_000_000, bytes: 2 ** 42, depth: 1_000, path: 3_072 };

/** Longest name of an entry, in bytes of UTF-8. */
export const longestName = 255;

/** Longest target of a symbolic link, in bytes of UTF-8. */
export const longestTarget = 4_095;

/** Most bytes of one Directory: what fits into a message that every client takes. */
export const largestDirectory = 3 * 1024 * 1024;

/** The error for a tree that is none, or not in the form in which trees are stored. */
export function badTree(message: string): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', 'BAD_TREE', message);
}

/** The error for a tree that is larger than one may be. */
export function treeTooLarge(why: string): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', 'TREE_TOO_LARGE', `the tree is too large: ${why}`);
}
