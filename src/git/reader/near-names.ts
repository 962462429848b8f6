import { isUtf8 } from 'node:buffer';
import { basename, extname } from 'node:path/posix';
import leven from 'leven';
import type { TreeEntry } from '../tree-entries.js';

/** Most names that are told. */
const most = 3;

/** Most entries of a tree that are looked at. */
const mostLookedAt = 20_000;

/** Longest path that is compared, in UTF-16 code units: the work grows with the square. */
const longest = 256;

/** How many names are compared between two chances for other work. */
const stride = 500;

/**
 * Paths of files in a tree that are near a path that is not in it, the nearest first: misspelt, in another case, in another directory, or
 * with another extension. The top of a large tree alone is looked at. Yields now and then.
 * @param entriesOf - gives the entries of a tree; undefined if it is not there
 */
export function* nearNames(
  entriesOf: (tree: string) => readonly TreeEntry[] | undefined,
  root: string,
  wanted: string,
): Generator<undefined, readonly string[]> {
  if (wanted.length > longest) return [];
  const found: { readonly path: string; readonly distance: number }[] = [];
  const waiting = [{ tree: root, prefix: '' }];
  let looked = 0;
  // The array grows while it is gone through: breadth first.
  for (const { tree, prefix } of waiting) {
    for (const { kind, name, oid } of entriesOf(tree) ?? []) {
      if (++looked > mostLookedAt) return nearest(found);
      if (looked % stride === 0) yield;
      const path = prefix + name.toString();
      if (path.length > longest || !isUtf8(name) || kind === 'submodule') continue;
      if (kind === 'tree') {
        waiting.push({ tree: oid, prefix: `${path}/` });
        continue;
      }
      const distance = distanceOf(path.toLowerCase(), wanted.toLowerCase());
      if (distance !== undefined) found.push({ path, distance });
    }
    yield;
  }
  return nearest(found);
}

/** How far a path is from another; undefined if too far to be meant. A path in the same directory is nearer than one elsewhere. */
function distanceOf(path: string, wanted: string): number | undefined {
  const bases = [basename(path), basename(wanted)] as const;
  const [stem, wantedStem] = bases.map((base) => base.slice(0, base.length - extname(base).length)) as [string, string];
  const distances = [near(path, wanted, 0), near(...bases, 1), near(stem, wantedStem, 1)];
  const known = distances.filter((distance) => distance !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function near(text: string, wanted: string, more: number): number | undefined {
  const limit = Math.max(1, Math.floor(basename(wanted).length / 3));
  if (Math.abs(text.length - wanted.length) > limit) return undefined;
  // What is further than the greatest distance is given as that.
  const distance = leven(text, wanted, { maxDistance: limit + 1 });
  return distance > limit ? undefined : distance + more;
}

function nearest(found: readonly { readonly path: string; readonly distance: number }[]): readonly string[] {
  const sorted = found.toSorted((a, b) => a.distance - b.distance || (a.path < b.path ? -1 : 1));
  return sorted.slice(0, most).map(({ path }) => path);
}
