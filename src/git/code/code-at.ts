import type { Code, CodeEntry } from '../../domain/code/code-digest.js';
import { wholeTree } from '../../domain/code/code-paths.js';
import { quote } from '../../domain/errors.js';
import type { TreeEntry } from '../tree-entries.js';
import { checkCode } from './check-code.js';
import { type CodeObjects, modes } from './objects.js';
import type { UnfitCode } from './unfit-code.js';

/** What a commit has at some paths. */
export type CodeFound = (Code & { readonly kind: 'code' }) | UnfitCode;

/** Which code is asked for: that at normal code paths. */
export type CodeQuery = {
  readonly commit: string;
  readonly paths: readonly string[];
  /** Whether what is there is to be looked through: links that lead out of it, and what git would put into its files of the commit. */
  readonly checked: boolean;
};

/**
 * What a commit has at some paths. Yields now and then.
 * @throws MemoirError DATA_LOSS for damaged or missing objects, FAILED_PRECONDITION UNSAFE_TREE, RESOURCE_EXHAUSTED CODE_TOO_LARGE
 */
export function* codeAt(objects: CodeObjects, { commit, paths, checked }: CodeQuery): Generator<undefined, CodeFound> {
  const root = objects.treeOf(commit);
  const entries: CodeEntry[] = [];
  for (const [place, path] of paths.entries()) {
    const found = lookUp(objects, root, path);
    if (typeof found === 'string') {
      return {
        kind: 'unfit',
        place,
        reason: 'BAD_CODE_PATH',
        what: `${quote(path)} is not in commit ${commit}: ${found}`,
      };
    }
    entries.push({ path, mode: modes[found.kind], oid: found.oid });
    yield;
  }
  const unfit = checked ? yield* checkCode(objects, root, entries) : undefined;
  return unfit ?? { kind: 'code', objectFormat: objects.hash.name, entries };
}

/** What a tree has at a path, or why nothing is there. */
export function lookUp(objects: CodeObjects, root: string, path: string): Pick<TreeEntry, 'kind' | 'oid'> | string {
  let at: Pick<TreeEntry, 'kind' | 'oid'> = { kind: 'tree', oid: root };
  if (path === wholeTree) return at;
  const parts = path.split('/');
  for (const [i, part] of parts.entries()) {
    const shown = () => quote(parts.slice(0, i).join('/'));
    if (at.kind === 'symlink') return `${shown()} is a symbolic link, and paths go through none`;
    if (at.kind === 'submodule') return `${shown()} is a submodule, which is a part as a whole`;
    if (at.kind !== 'tree') return `${shown()} is a file`;
    const name = Buffer.from(part).toString('latin1');
    const [entry] = objects.entries(at.oid, (one) => one === name);
    if (!entry) return i === 0 ? `there is no ${quote(part)}` : `there is no ${quote(part)} in ${shown()}`;
    at = entry;
  }
  return at;
}
