import type { HashAlgorithm } from '../hash.js';
import type { ScriptFound } from '../port.js';
import { type TreeEntry, treeEntries } from '../tree-entries.js';
import { nearNames } from './near-names.js';
import type { ObjectReader } from './object-reader.js';

/** Most symbolic links that lead to a file, as Linux has it (path_resolution(7)). */
const mostLinks = 40;

/** Longest target of a symbolic link that is followed, in bytes. */
const longestTarget = 4_095;

type Objects = Pick<ObjectReader, 'commit' | 'read'>;

/**
 * What the tree of a commit has at the path of a script, symbolic links followed as a checkout would have them. Undefined where only the
 * checkout can tell: a link that leaves the tree, or an object that is not there. Yields now and then.
 * @throws MemoirError as `isPlainCommit` does
 */
export function* findScript(
  objects: Objects,
  hash: HashAlgorithm,
  commit: string,
  script: string,
): Generator<undefined, ScriptFound | undefined> {
  const { tree } = objects.commit(commit);
  const entriesOf = (id: string): readonly TreeEntry[] | undefined => {
    const object = objects.read(id);
    return object?.type === 'tree' ? treeEntries(object.data, hash.bytes, `tree ${id}`) : undefined;
  };
  const kind = lookUp(objects, byName(entriesOf), tree, Buffer.from(script).toString('latin1'));
  yield;
  if (kind !== 'missing') return kind && { kind };
  return { kind, near: yield* nearNames(entriesOf, tree, script) };
}

type Named = ReadonlyMap<string, TreeEntry>;

/** Reads a tree once, however often links lead through it. */
function byName(entriesOf: (tree: string) => readonly TreeEntry[] | undefined): (tree: string) => Named | undefined {
  const known = new Map<string, Named>();
  return (tree) => {
    const before = known.get(tree);
    if (before) return before;
    const entries = entriesOf(tree);
    const named = entries && new Map(entries.map((entry) => [entry.name.toString('latin1'), entry]));
    if (named) known.set(tree, named);
    return named;
  };
}

/** Names are bytes as latin1 here. */
function lookUp(
  objects: Objects,
  entriesOf: (tree: string) => Named | undefined,
  root: string,
  path: string,
): ScriptFound['kind'] | undefined {
  const above: string[] = [];
  let at = root;
  let links = 0;
  const rest = path.split('/').reverse();
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      const parent = above.pop();
      if (parent === undefined) return undefined;
      at = parent;
      continue;
    }
    const entries = entriesOf(at);
    if (!entries) return undefined;
    const entry = entries.get(name);
    if (!entry) return 'missing';
    switch (entry.kind) {
      case 'tree':
        above.push(at);
        at = entry.oid;
        break;
      case 'symlink': {
        if (++links > mostLinks) return 'missing';
        const target = objects.read(entry.oid);
        if (target?.type !== 'blob' || target.data.length === 0 || target.data.length > longestTarget) return undefined;
        const text = target.data.toString('latin1');
        if (text.startsWith('/')) return undefined;
        rest.push(...text.split('/').reverse());
        break;
      }
      case 'submodule':
        // It is an empty directory at most.
        if (rest.includes('..')) return undefined;
        return rest.length === 0 ? 'submodule' : 'missing';
      default:
        return rest.length === 0 ? entry.kind : 'missing';
    }
  }
  return 'directory';
}
