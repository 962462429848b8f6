import type { CodeEntry } from '../../domain/code/code-digest.js';
import { checkoutLimits } from '../checkout-limits.js';
import type { TreeEntry } from '../tree-entries.js';
import { type CodeObjects, modes } from './objects.js';

/** The first path in which code differs, and what each has there; absent where it has nothing. */
export type CodeDifference = {
  readonly path: string;
  readonly one?: Pick<CodeEntry, 'mode' | 'oid'>;
  readonly other?: Pick<CodeEntry, 'mode' | 'oid'>;
};

/**
 * The first path, in git's order, at which two commits differ, of what they have at the same path. Directories that lie deeper than a checkout
 * has them are not looked into. Yields now and then.
 * @returns undefined if they do not
 */
export function* firstDifference(
  objects: Pick<CodeObjects, 'entries'>,
  one: CodeEntry,
  other: CodeEntry,
  depth = 0,
): Generator<undefined, CodeDifference | undefined> {
  if (one.mode === other.mode && one.oid === other.oid) return undefined;
  if (one.mode !== modes.tree || other.mode !== modes.tree || depth >= checkoutLimits.depth) {
    return { path: one.path, one: thing(one), other: thing(other) };
  }
  yield;
  const [its, others] = [one, other].map(({ oid }) => byOrder(objects.entries(oid))) as [Ordered, Ordered];
  for (const key of [...new Set([...its.keys(), ...others.keys()])].sort(compareLatin1)) {
    const [a, b] = [its.get(key), others.get(key)];
    const path = join(one.path, a ?? (b as TreeEntry));
    if (a && b) {
      const inside = yield* firstDifference(objects, entryOf(path, a), entryOf(path, b), depth + 1);
      if (inside) return inside;
    } else if (a) {
      const first = yield* firstOf(objects, entryOf(path, a), depth + 1);
      return { path: first.path, one: thing(first) };
    } else if (b) {
      const first = yield* firstOf(objects, entryOf(path, b), depth + 1);
      return { path: first.path, other: thing(first) };
    }
  }
  // Trees that name the same in other bytes.
  return { path: one.path, one: thing(one), other: thing(other) };
}

/** The first file of a directory, or what is none; a directory without any stands for itself. */
function* firstOf(
  objects: Pick<CodeObjects, 'entries'>,
  entry: CodeEntry,
  depth: number,
): Generator<undefined, CodeEntry> {
  if (entry.mode !== modes.tree || depth >= checkoutLimits.depth) return entry;
  yield;
  const [[, first] = []] = [...byOrder(objects.entries(entry.oid))].sort(([a], [b]) => compareLatin1(a, b));
  return first ? yield* firstOf(objects, entryOf(join(entry.path, first), first), depth + 1) : entry;
}

type Ordered = ReadonlyMap<string, TreeEntry>;

/** Entries by what git orders them by: the bytes of the name, of a directory with "/" behind it. */
export function byOrder(entries: readonly TreeEntry[]): Ordered {
  return new Map(entries.map((entry) => [entry.name.toString('latin1') + (entry.kind === 'tree' ? '/' : ''), entry]));
}

/** Compares texts of bytes as latin1. */
export function compareLatin1(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** The path of an entry of a tree. */
export function join(path: string, { name }: Pick<TreeEntry, 'name'>): string {
  return path === '.' ? name.toString() : `${path}/${name.toString()}`;
}

/** An entry of a tree as one of code. */
export function entryOf(path: string, { kind, oid }: Pick<TreeEntry, 'kind' | 'oid'>): CodeEntry {
  return { path, mode: modes[kind], oid };
}

function thing({ mode, oid }: CodeEntry): Pick<CodeEntry, 'mode' | 'oid'> {
  return { mode, oid };
}
