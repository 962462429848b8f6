import type { TreeEntry } from '../tree-entries.js';
import type { CodeObjects } from './objects.js';

/** Most symbolic links that lead to a file, as Linux has it (path_resolution(7)). */
const mostLinks = 40;

/** Longest target of a symbolic link that can be created, in bytes. */
const longestTarget = 4_095;

/** Tells of symbolic links where they lead in a checkout of some paths alone. Paths are bytes as latin1. */
export type LinkFollower = {
  /**
   * Whether a link, at a path, leads to something that is not at those paths or inside them: out of the tree, to what is not checked out, or to a
   * directory around them. What is not there, or is behind a circle of links, is where its name would be.
   */
  leaves(path: string, target: string): boolean;
};

/** Makes it. `paths` are those that are checked out, empty for the root. */
export function linkFollower(objects: CodeObjects, root: string, paths: readonly string[]): LinkFollower {
  type Known = ReadonlyMap<string, Pick<TreeEntry, 'kind' | 'oid'>>;
  const trees = new Map<string, Known>();

  function entriesOf(tree: string): Known {
    const known = trees.get(tree);
    if (known) return known;
    const entries = new Map(objects.entries(tree).map((entry) => [entry.name.toString('latin1'), entry]));
    trees.set(tree, entries);
    return entries;
  }

  /** What is at a path, without following links. */
  function look(parts: readonly string[]): Pick<TreeEntry, 'kind' | 'oid'> | undefined {
    let at: Pick<TreeEntry, 'kind' | 'oid'> | undefined = { kind: 'tree', oid: root };
    for (const part of parts) {
      if (at?.kind !== 'tree') return undefined;
      at = entriesOf(at.oid).get(part);
    }
    return at;
  }

  const isInside = (path: string) => paths.some((one) => one === '' || path === one || path.startsWith(`${one}/`));
  const isAround = (path: string) => paths.some((one) => one.startsWith(`${path}/`));

  return {
    leaves(path, target) {
      const here = path.split('/').slice(0, -1);
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
        here.push(name);
        const at = here.join('/');
        if (!isInside(at) && !isAround(at)) return true;
        const entry = look(here);
        if (entry?.kind !== 'symlink') continue;
        if (++links > mostLinks) return false;
        here.pop();
        if (!follow(objects.blob(entry.oid).toString('latin1'))) return true;
      }
      return !isInside(here.join('/'));
    },
  };
}
