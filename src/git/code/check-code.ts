import { LRUCache } from 'lru-cache';
import type { CodeEntry } from '../../domain/code/code-digest.js';
import { wholeTree } from '../../domain/code/code-paths.js';
import { quote } from '../../domain/errors.js';
import { type Assignment, readAttributeFile } from '../attributes/attribute-file.js';
import { checkoutLimits } from '../checkout-limits.js';
import type { TreeEntry } from '../tree-entries.js';
import { type LinkFollower, linkFollower } from './follow-links.js';
import { type CodeObjects, modes, tooLarge } from './objects.js';
import type { UnfitCode } from './unfit-code.js';

/**
 * Trees in which, and in all of what is in them, there is no symbolic link and no word of export-subst, of all repositories: an id stands for the
 * same content everywhere. So a first look at a commit reads the trees that it changed.
 */
const quietTrees = new LRUCache<string, true>({ maxSize: 131_072, sizeCalculation: () => 1 });

/** Attribute by which git puts a commit's own id into files. */
const exportSubst = 'export-subst';

/**
 * Looks through what a commit has at some paths for what makes it more than what is there: a symbolic link that leads out of it, or files that git
 * is to put the commit into. Yields now and then.
 * @param root - tree of the commit
 * @throws MemoirError as `codeAt`
 */
export function* checkCode(
  objects: CodeObjects,
  root: string,
  code: readonly CodeEntry[],
): Generator<undefined, UnfitCode | undefined> {
  const paths = code.map(({ path }) => (path === wholeTree ? '' : Buffer.from(path).toString('latin1')));
  const follower = linkFollower(objects, root, paths);
  let entries = 0;

  for (const [place, { mode, oid }] of code.entries()) {
    const path = paths[place] as string;
    const unfit =
      mode === modes.tree
        ? yield* lookThrough(oid, path, 1)
        : checkEntry({ oid, kind: kindOf(mode) }, path, follower, objects);
    if (unfit && unfit !== 'quiet') return { kind: 'unfit', place, ...unfit };
  }
  return undefined;

  /** `path` is that of the tree, empty for the root. Gives whether it is quiet, or what is wrong. */
  function* lookThrough(tree: string, path: string, depth: number): Generator<undefined, 'quiet' | Unfit | undefined> {
    if (quietTrees.has(tree)) return 'quiet';
    if (depth > checkoutLimits.depth) throw tooLarge(`directories nested more than ${checkoutLimits.depth} deep`);
    let quiet = true;
    yield;
    for (const entry of objects.entries(tree)) {
      if (++entries > checkoutLimits.entries) throw tooLarge(`more than ${checkoutLimits.entries} entries`);
      const name = entry.name.toString('latin1');
      const at = path === '' ? name : `${path}/${name}`;
      const found =
        entry.kind === 'tree' ? yield* lookThrough(entry.oid, at, depth + 1) : checkEntry(entry, at, follower, objects);
      if (found === 'quiet') continue;
      if (found) return found;
      quiet = false;
    }
    if (!quiet) return undefined;
    quietTrees.set(tree, true);
    return 'quiet';
  }
}

type Unfit = Pick<UnfitCode, 'reason' | 'what'>;

/** Looks at what is no directory. Gives "quiet" where it would be all right anywhere. */
function checkEntry(
  { kind, oid }: Pick<TreeEntry, 'kind' | 'oid'>,
  path: string,
  follower: LinkFollower,
  objects: CodeObjects,
): 'quiet' | Unfit | undefined {
  if (kind === 'symlink') {
    const target = follower.target(oid);
    if (!follower.leaves(path, target)) return undefined;
    const what = `${shown(path)} is a symbolic link to ${shown(target)}, which leads out of the code paths`;
    return { reason: 'CODE_LINK_LEAVES', what };
  }
  if (kind === 'submodule' || (path !== '.gitattributes' && !path.endsWith('/.gitattributes'))) return 'quiet';
  const content = objects.blob(oid);
  if (!content.includes(exportSubst)) return 'quiet';
  const { rules, macros } = readAttributeFile(content, path === '.gitattributes');
  const said = [...rules.map(({ assignments }) => assignments), ...macros.values()];
  if (!said.some(setsSubst)) return undefined;
  const what = `${shown(path)} sets ${exportSubst}, by which git puts the commit into files`;
  return { reason: 'CODE_EXPORT_SUBST', what };
}

function setsSubst(assignments: readonly Assignment[]): boolean {
  return assignments.some(({ name, state }) => name === exportSubst && state !== false && state !== undefined);
}

/** A path of bytes as latin1, for people. */
function shown(path: string): string {
  return quote(Buffer.from(path, 'latin1').toString());
}

function kindOf(mode: string): TreeEntry['kind'] {
  return mode === modes.symlink ? 'symlink' : mode === modes.submodule ? 'submodule' : 'file';
}
