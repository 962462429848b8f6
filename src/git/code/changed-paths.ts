import type { CodeEntry } from '../../domain/code/code-digest.js';
import { MemoirError } from '../../domain/errors.js';
import { ObjectTooLarge } from '../objects/object.js';
import type { TreeEntry } from '../tree-entries.js';
import { lookUp } from './code-at.js';
import { countLines, isText, type LineCounts, lineCount } from './count-lines.js';
import { byOrder, compareLatin1, entryOf, join } from './first-difference.js';
import { type CodeObjects, modes } from './objects.js';

/** Largest files whose lines are counted, and all of them together, in bytes. */
const counted = { file: 1024 ** 2, all: 32 * 1024 ** 2 };

/** Most entries of trees that are looked at. */
const mostEntries = 200_000;

/** Deepest directories. */
const deepest = 256;

/** A path at which two commits differ, as `git diff --numstat --no-renames` lists it. */
export type ChangedPath = {
  readonly path: string;
  /** What each has there; undefined for nothing. */
  readonly one?: Entry | undefined;
  readonly other?: Entry | undefined;
  /** Lines that the other has more and less. Undefined for what has none. */
  readonly lines?: LineCounts | undefined;
  /** Why there are no lines; undefined where there are. */
  readonly without?: 'binary' | 'large' | 'unread' | 'submodule' | undefined;
};

type Entry = Pick<CodeEntry, 'mode' | 'oid'>;

/** Which commits to compare, and where: at normal code paths that are not within each other. */
export type ChangesQuery = {
  readonly one: string;
  readonly other: string;
  readonly paths: readonly string[];
  /** Most paths that are told. */
  readonly most: number;
};

/** In what two commits differ. */
export type Changes = {
  /** In git's order. */
  readonly changed: readonly ChangedPath[];
  /** Whether there are more, or not all was looked at. */
  readonly truncated: boolean;
};

/**
 * The paths at which two commits differ, below some paths, with the lines that were added and removed. Yields now and then.
 * @throws MemoirError DATA_LOSS for trees that are damaged or missing; blobs that are stand without lines
 */
export function* changedPaths(
  objects: CodeObjects,
  { one, other, paths, most }: ChangesQuery,
): Generator<undefined, Changes> {
  const changed: ChangedPath[] = [];
  let [entries, bytes] = [0, 0];
  let truncated = false;

  const roots = [objects.treeOf(one), objects.treeOf(other)] as const;
  for (const path of paths) {
    const [a, b] = roots.map((root) => {
      const found = lookUp(objects, root, path);
      return typeof found === 'string' ? undefined : entryOf(path, found);
    });
    yield* compare(path, a, b, 0);
  }
  return { changed, truncated };

  function* compare(
    path: string,
    a: CodeEntry | undefined,
    b: CodeEntry | undefined,
    depth: number,
  ): Generator<undefined, void> {
    if ((a?.mode === b?.mode && a?.oid === b?.oid) || truncated) return;
    const [from, to] = [a?.mode === modes.tree ? a : undefined, b?.mode === modes.tree ? b : undefined];
    if (from || to) yield* compareTrees(path, from, to, depth);
    const [its, others] = [from ? undefined : a, to ? undefined : b];
    if (!its && !others) return;
    if (changed.length >= most) {
      truncated = true;
      return;
    }
    changed.push({ path, one: its && thing(its), other: others && thing(others), ...(yield* stat(its, others)) });
  }

  function* compareTrees(
    path: string,
    a: CodeEntry | undefined,
    b: CodeEntry | undefined,
    depth: number,
  ): Generator<undefined, void> {
    yield;
    const [its, others] = [a, b].map((tree) => byOrder(tree ? objects.entries(tree.oid) : []));
    entries += (its?.size ?? 0) + (others?.size ?? 0);
    if (entries > mostEntries || depth >= deepest) truncated = true;
    for (const key of [...new Set([...(its?.keys() ?? []), ...(others?.keys() ?? [])])].sort(compareLatin1)) {
      if (truncated) return;
      const [x, y] = [its?.get(key), others?.get(key)];
      const at = join(path, (x ?? y) as TreeEntry);
      yield* compare(at, x && entryOf(at, x), y && entryOf(at, y), depth + 1);
    }
  }

  function* stat(
    a: CodeEntry | undefined,
    b: CodeEntry | undefined,
  ): Generator<undefined, Pick<ChangedPath, 'lines' | 'without'>> {
    if (a?.mode === modes.submodule || b?.mode === modes.submodule) return { without: 'submodule' };
    yield;
    if (a && a.oid === b?.oid) {
      // Another mode alone. What has no lines has none then either.
      const content = blobOf(a.oid);
      const isBinary = typeof content !== 'string' && !isText(content);
      return isBinary ? { without: 'binary' } : { lines: { added: 0, removed: 0 } };
    }
    const [its, others] = [a, b].map((entry) => (entry ? blobOf(entry.oid) : Buffer.alloc(0)));
    if (typeof its === 'string') return { without: its };
    if (typeof others === 'string') return { without: others };
    if (!its || !others || !isText(its) || !isText(others)) return { without: 'binary' };
    if (!a) return { lines: { added: lineCount(others), removed: 0 } };
    if (!b) return { lines: { added: 0, removed: lineCount(its) } };
    const lines = yield* countLines(its, others);
    return lines ? { lines } : { without: 'large' };
  }

  /** The bytes of a file, or why they are not looked at. */
  function blobOf(oid: string): Buffer | 'large' | 'unread' {
    if (bytes > counted.all) return 'large';
    try {
      const data = objects.blob(oid);
      bytes += data.length;
      return data.length > counted.file ? 'large' : data;
    } catch (error) {
      if (!(error instanceof MemoirError)) throw error;
      return error.cause instanceof ObjectTooLarge ? 'large' : 'unread';
    }
  }
}

function thing({ mode, oid }: CodeEntry): Entry {
  return { mode, oid };
}
