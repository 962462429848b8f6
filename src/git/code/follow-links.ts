import { LRUCache } from 'lru-cache';
import type { TreeEntry } from '../tree-entries.js';
import { type CodeObjects, tooLarge } from './objects.js';

/** Most symbolic links that lead to a file, as Linux has it (path_resolution(7)). */
const mostLinks = 40;

/** Longest target of a symbolic link that can be created, in bytes. */
const longestTarget = 4_095;

/** Most steps from directory to directory that following all links of a commit may take. Large repositories take some thousand. */
const mostSteps = 5_000_000;

/** Bytes of targets that are remembered: links often lead to links that others lead to, too. */
const keptTargets = 4 * 1024 ** 2;

/** Tells of symbolic links where they lead in a checkout of some paths alone. Paths are bytes as latin1. */
export type LinkFollower = {
  /**
   * Whether a link, at a path, leads to something that is not at those paths or inside them: out of the tree, to what is not checked out, or to a
   * directory around them. What is not there, or is behind a circle of links, is where its name would be.
   * @throws MemoirError RESOURCE_EXHAUSTED CODE_TOO_LARGE if it takes too many steps, with those before
   */
  leaves(path: string, target: string): boolean;
  /** The target of a link by the id of its blob, bytes as latin1. */
  target(id: string): string;
};

type Place = { readonly path: string; readonly entry: Pick<TreeEntry, 'kind' | 'oid'> | undefined };

/** Makes it. `paths` are those that are checked out, empty for the root. */
export function linkFollower(objects: CodeObjects, root: string, paths: readonly string[]): LinkFollower {
  type Known = ReadonlyMap<string, Pick<TreeEntry, 'kind' | 'oid'>>;
  const trees = new Map<string, Known>();
  const targets = new LRUCache<string, string>({ maxSize: keptTargets, sizeCalculation: (text) => text.length + 1 });
  let steps = 0;

  function targetOf(id: string): string {
    const known = targets.get(id);
    if (known !== undefined) return known;
    const text = objects.blob(id).toString('latin1');
    targets.set(id, text);
    return text;
  }

  function entriesOf(tree: string): Known {
    const known = trees.get(tree);
    if (known) return known;
    const entries = new Map(objects.entries(tree).map((entry) => [entry.name.toString('latin1'), entry]));
    trees.set(tree, entries);
    return entries;
  }

  const top: Place = { path: '', entry: { kind: 'tree', oid: root } };

  /** What is in a directory, without following links. */
  function inside({ path, entry }: Place, name: string): Place {
    if (++steps > mostSteps) throw tooLarge(`links that take more than ${mostSteps} steps to follow`);
    const found = entry?.kind === 'tree' ? entriesOf(entry.oid).get(name) : undefined;
    return { path: path === '' ? name : `${path}/${name}`, entry: found };
  }

  const isInside = (path: string) => paths.some((one) => one === '' || path === one || path.startsWith(`${one}/`));
  const isAround = (path: string) => paths.some((one) => one.startsWith(`${path}/`));

  return {
    target: targetOf,
    leaves(path, target) {
      /** From the root, which is not in it, to where it has come. */
      const here: Place[] = [];
      for (const name of path.split('/').slice(0, -1)) here.push(inside(here.at(-1) ?? top, name));
      let links = 0;
      const rest: string[] = [];
      /** Whether it is a target that is followed from where the link is. */
      const follow = (text: string) => {
        if (text === '' || text.length > longestTarget || text.includes('\0') || text.startsWith('/')) return false;
        rest.push(...text.split('/').reverse());
        return true;
      };
      if (!follow(target)) return true;
      for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
        if (name === '' || name === '.') continue;
        if (name === '..') {
          if (here.pop() === undefined) return true;
          continue;
        }
        const at = inside(here.at(-1) ?? top, name);
        if (!isInside(at.path) && !isAround(at.path)) return true;
        if (at.entry?.kind !== 'symlink') {
          here.push(at);
          continue;
        }
        if (++links > mostLinks) return false;
        if (!follow(targetOf(at.entry.oid))) return true;
      }
      return !isInside(here.at(-1)?.path ?? '');
    },
  };
}
