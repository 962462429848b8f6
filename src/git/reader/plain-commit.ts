import { LRUCache } from 'lru-cache';
import { checkoutLimits } from '../checkout-limits.js';
import type { HashAlgorithm } from '../hash.js';
import { treeEntries } from '../tree-entries.js';
import type { ObjectReader } from './object-reader.js';

/** Trees that are known to be plain with all that is in them, of all repositories: an id stands for the same content everywhere. */
const plainTrees = new LRUCache<string, true>({ maxSize: 65_536, sizeCalculation: () => 1 });

/**
 * Whether a commit is plain: its tree has no submodule, and no file `.gitattributes` in which the word "filter" stands, so that a checkout is
 * the same whether pointers of git-lfs and submodules are left or refused. Undefined if that cannot be told, because an object is not
 * there or there are more than a checkout has. Yields now and then, so that a large tree can be taken in turns with others.
 * @throws MemoirError DATA_LOSS for damaged objects; FAILED_PRECONDITION UNSAFE_TREE for a tree that cannot be checked out
 */
export function* isPlainCommit(
  reader: Pick<ObjectReader, 'commit' | 'read'>,
  hash: HashAlgorithm,
  commit: string,
): Generator<undefined, boolean | undefined> {
  const met = new Set([reader.commit(commit).tree]);
  let entries = 0;
  // The set grows while it is gone through: breadth first, each distinct tree once.
  for (const id of met) {
    yield;
    if (plainTrees.has(id)) continue;
    const tree = reader.read(id);
    if (tree?.type !== 'tree') return undefined;
    for (const { kind, name, oid } of treeEntries(tree.data, hash.bytes, `tree ${id}`)) {
      if (++entries > checkoutLimits.entries) return undefined;
      if (kind === 'submodule') return false;
      if (kind === 'tree') met.add(oid);
      // Attributes are read from files alone, not through links, by git as by Memoir.
      else if (kind !== 'symlink' && name.toString('latin1') === '.gitattributes') {
        const file = reader.read(oid);
        if (file?.type !== 'blob') return undefined;
        if (file.data.includes('filter')) return false;
      }
    }
  }
  for (const id of met) plainTrees.set(id, true);
  return true;
}
