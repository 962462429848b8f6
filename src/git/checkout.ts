import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { mkdir, open, readFile, stat, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import git from 'isomorphic-git';
import { MemoirError, quote } from '../domain/errors.js';
import { type CheckoutLimits, checkoutLimits } from './checkout-limits.js';
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
 * @param commit 40 hexadecimal digits
 * @throws MemoirError NOT_FOUND OBJECT_MISSING; DATA_LOSS for a malformed or damaged object; FAILED_PRECONDITION UNSAFE_TREE for a
 * name that cannot be created safely; RESOURCE_EXHAUSTED CHECKOUT_TOO_LARGE
 */
export async function checkout(
  repository: string,
  commit: string,
  directory: string,
  options: CheckoutOptions = {},
): Promise<CheckedOut> {
  const limits = { ...checkoutLimits, ...options.limits };
  const gitdir = await gitDirectory(repository);
  const cache = {};
  const links: Link[] = [];
  const done = { entries: 0, bytes: 0 };

  await mkdir(directory, { recursive: true });
  const root = Buffer.from(resolve(directory));
  await walk(await treeOf(commit), root, 1, '');
  for (const { path, target } of links) await symlink(target, path);
  return done;

  async function walk(tree: string, at: Buffer, depth: number, shown: string): Promise<void> {
    if (depth > limits.depth) throw tooLarge(`its directories are nested more than ${limits.depth} deep`);
    const content = await read(tree, 'tree');
    for (const entry of treeEntries(
      content,
      tree.length / 2,
      `tree ${tree}${shown === '' ? '' : ` (${quote(shown)})`}`,
    )) {
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
    const content = await read(entry.oid, 'blob');
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

  async function treeOf(oid: string): Promise<string> {
    const header = /^tree ([0-9a-f]{40}(?:[0-9a-f]{24})?)\n/.exec(
      (await read(oid, 'commit')).toString('latin1', 0, 80),
    );
    if (!header?.[1])
      throw new MemoirError('DATA_LOSS', 'MALFORMED_COMMIT', `commit ${oid} does not begin with its tree`);
    return header[1];
  }

  async function read(oid: string, type: 'commit' | 'tree' | 'blob'): Promise<Buffer> {
    let found: { type: string; object: Uint8Array };
    try {
      found = (await git.readObject({ fs, gitdir, oid, format: 'content', cache })) as typeof found;
    } catch (error) {
      const missing = (error as { code?: unknown }).code === 'NotFoundError';
      throw new MemoirError(
        missing ? 'NOT_FOUND' : 'DATA_LOSS',
        missing ? 'OBJECT_MISSING' : 'OBJECT_UNREADABLE',
        `${type} ${oid} of ${quote(repository)} ${missing ? 'is missing' : `cannot be read: ${(error as Error).message}`}`,
        { cause: error },
      );
    }
    const content = Buffer.from(found.object.buffer, found.object.byteOffset, found.object.byteLength);
    const digest = createHash(oid.length === 64 ? 'sha256' : 'sha1')
      .update(`${found.type} ${content.length}\0`)
      .update(content)
      .digest('hex');
    if (found.type !== type || digest !== oid) {
      const what = found.type === type ? `has the content of ${digest}` : `is a ${found.type}`;
      throw new MemoirError('DATA_LOSS', 'OBJECT_DAMAGED', `${type} ${oid} of ${quote(repository)} ${what}`);
    }
    return content;
  }

  function tooLarge(what: string): MemoirError {
    return new MemoirError('RESOURCE_EXHAUSTED', 'CHECKOUT_TOO_LARGE', `commit ${commit} is too large: ${what}`);
  }
}

/** The directory that has a repository's objects: with a working tree, without one, or shared by several working trees. */
async function gitDirectory(repository: string): Promise<string> {
  const inside = join(repository, '.git');
  const found = await stat(inside).catch(() => undefined);
  if (!found) return repository;
  if (found.isDirectory()) return inside;
  const link = /^gitdir: (.+?)\n?$/s.exec(await readFile(inside, 'utf8'));
  if (!link?.[1]) {
    throw new MemoirError(
      'DATA_LOSS',
      'REPOSITORY_UNREADABLE',
      `${quote(inside)} is neither a directory nor names one`,
    );
  }
  const linked = resolve(repository, link[1]);
  const common = await readFile(join(linked, 'commondir'), 'utf8').catch(() => undefined);
  return common === undefined ? linked : resolve(linked, common.trimEnd());
}
