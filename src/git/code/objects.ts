import type { CodeEntry } from '../../domain/code/code-digest.js';
import { MemoirError } from '../../domain/errors.js';
import type { HashAlgorithm } from '../hash.js';
import type { ObjectType } from '../objects/object.js';
import type { ObjectReader } from '../reader/object-reader.js';
import { type TreeEntry, treeEntries } from '../tree-entries.js';

/** Objects of one repository as code is looked up in them. */
export type CodeObjects = {
  readonly hash: HashAlgorithm;
  /** Id of the tree of a commit. */
  treeOf(commit: string): string;
  /** The entries of a tree; with `wants` those whose names, bytes as latin1, it wants. */
  entries(tree: string, wants?: (name: string) => boolean): readonly TreeEntry[];
  blob(id: string): Buffer;
};

/**
 * The objects of a repository, which must all be there.
 * @param failed - makes the error for one that is missing, or of another kind
 */
export function codeObjects(
  reader: Pick<ObjectReader, 'commit' | 'read'>,
  hash: HashAlgorithm,
  failed: (what: string) => Error,
): CodeObjects {
  function read(id: string, type: ObjectType): Buffer {
    const object = reader.read(id);
    if (!object) throw failed(`${type} ${id} is missing`);
    if (object.type !== type) throw failed(`${type} ${id} is a ${object.type}`);
    return object.data;
  }
  return {
    hash,
    treeOf: (commit) => reader.commit(commit).tree,
    entries: (tree, wants) => treeEntries(read(tree, 'tree'), hash.bytes, `tree ${tree}`, wants),
    blob: (id) => read(id, 'blob'),
  };
}

/** Modes of what trees hold, as git has them, in six digits. */
export const modes: Readonly<Record<TreeEntry['kind'], CodeEntry['mode']>> = {
  tree: '040000',
  file: '100644',
  executable: '100755',
  symlink: '120000',
  submodule: '160000',
};

/** Says that code takes more than may be looked through. */
export function tooLarge(what: string): MemoirError {
  return new MemoirError('RESOURCE_EXHAUSTED', 'CODE_TOO_LARGE', `the code paths have ${what}`, {
    field: 'code_paths',
  });
}
