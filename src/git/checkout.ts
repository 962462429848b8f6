import { mkdir, open, symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { MemoirError, quote } from '../domain/errors.js';
import { type CheckoutLimits, checkoutLimits } from './checkout-limits.js';
import { readLayout } from './layout.js';
import { parseCommit } from './objects/commit.js';
import { type GitObject, largestObject, ObjectTooLarge, type ObjectType } from './objects/object.js';
import { openObjectStore } from './objects/object-store.js';
import { damaged } from './problem.js';
import { type TreeEntry, treeEntries } from './tree-entries.js';

/** How to check out. */
export type CheckoutOptions = {
  readonly limits?: Partial<CheckoutLimits>;
  /** Ends the checkout, with its reason as the error. */
  readonly signal?: AbortSignal;
};

/** What was checked out. */
export type CheckedOut = { readonly entries: number; readonly bytes: number };

type Link = { readonly path: Buffer; readonly target: Buffer };

/**
 * Writes the tree of a commit into a directory that must be empty or absent. Everything is created anew and nothing is
 * overwritten; symbolic links are created last, so that nothing can be written through them. Submodules are empty directories.
 * Every object is checked against its name. Files are readable and writable by their owner, and executable where git says so.
 * @param repository directory of a repository, bare or not
 * @param commit - its full hash, in lower-case hexadecimal digits
 * @throws MemoirError FAILED_PRECONDITION as `readLayout` does, or UNSAFE_TREE for a name that cannot be created safely; NOT_FOUND
 * OBJECT_MISSING; DATA_LOSS for a malformed or damaged object; RESOURCE_EXHAUSTED CHECKOUT_TOO_LARGE
 */
export async function checkout(
  repository: string,
  commit: string,
  directory: string,
  options: CheckoutOptions = {},
): Promise<CheckedOut> {
  const limits = { ...checkoutLimits, ...options.limits };
  const { objectDir, hash } = readLayout(repository, repository);
  const largest = Math.max(limits.fileBytes, largestObject);
  const objects = openObjectStore({ repository, directory: objectDir, hash, largest });
  const links: Link[] = [];
  const done = { entries: 0, bytes: 0 };

  try {
    await mkdir(directory, { recursive: true });
    const failed = (what: string) => damaged(repository, `commit ${commit}: ${what}`);
    const { tree } = parseCommit(read(commit, 'commit'), hash.hex, failed);
    await walk(tree, Buffer.from(resolve(directory)), 1, '');
    for (const { path, target } of links) await symlink(target, path);
    return done;
  } finally {
    objects.close();
  }

  async function walk(tree: string, at: Buffer, depth: number, shown: string): Promise<void> {
    if (depth > limits.depth) throw tooLarge(`its directories are nested more than ${limits.depth} deep`);
    const content = read(tree, 'tree');
    for (const entry of treeEntries(content, hash.bytes, `tree ${tree}${shown === '' ? '' : ` (${quote(shown)})`}`)) {
      options.signal?.throwIfAborted();
      done.entries += 1;
      if (done.entries > limits.entries) throw tooLarge(`it has more than ${limits.entries} entries`);
      await make(entry, Buffer.concat([at, Buffer.from('/'), entry.name]), depth, `${shown}${entry.name}`);
    }
  }

  async function make(entry: TreeEntry, path: Buffer, depth: number, shown: string): Promise<void> {
    if (entry.kind === 'tree' || entry.kind === 'submodule') {
      await mkdir(path);
      if (entry.kind === 'tree') await walk(entry.oid, path, depth + 1, `${shown}/`);
      return;
    }
    const content = read(entry.oid, 'blob');
    if (content.length > limits.fileBytes) throw tooLarge(`${quote(shown)} has ${content.length} bytes`);
    done.bytes += content.length;
    if (done.bytes > limits.totalBytes) throw tooLarge(`its files have more than ${limits.totalBytes} bytes`);
    if (entry.kind === 'symlink') {
      if (content.length === 0 || content.length > 4_095 || content.includes(0)) {
        throw new MemoirError(
          'FAILED_PRECONDITION',
          'UNSAFE_TREE',
          `commit ${commit} cannot be checked out: the symbolic link ${quote(shown)} has no target that can be created`,
        );
      }
      links.push({ path, target: content });
      return;
    }
    const file = await open(path, 'wx', entry.kind === 'executable' ? 0o755 : 0o644);
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
  }

  function read(oid: string, type: ObjectType): Buffer {
    let found: GitObject | undefined;
    try {
      found = objects.read(oid);
    } catch (error) {
      const { cause } = error as Error;
      if (cause instanceof ObjectTooLarge) throw tooLarge(`its ${type} ${oid} has ${cause.bytes} bytes or more`);
      throw error;
    }
    if (!found) {
      const what = `${type} ${oid} of ${quote(repository)} is missing`;
      throw new MemoirError('NOT_FOUND', 'OBJECT_MISSING', what);
    }
    if (found.type !== type) throw damaged(repository, `${type} ${oid} is a ${found.type}`);
    return found.data;
  }

  function tooLarge(what: string): MemoirError {
    return new MemoirError('RESOURCE_EXHAUSTED', 'CHECKOUT_TOO_LARGE', `commit ${commit} is too large: ${what}`);
  }
}
