import { mkdir, open, symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Code, CodeEntry } from '../domain/code/code-digest.js';
import { MemoirError, quote } from '../domain/errors.js';
import { makeDirectory } from '../make-directory.js';
import { type AttributeFile, readAttributeFile } from './attributes/attribute-file.js';
import { type Attributes, rootAttributes } from './attributes/attributes.js';
import { convert } from './attributes/conversion.js';
import { isLfsPointer } from './attributes/lfs-pointer.js';
import { type CheckoutLimits, checkoutLimits } from './checkout-limits.js';
import { modes } from './code/objects.js';
import { type Selection, selectionOf } from './code/selection.js';
import { readLayout, whyMissing } from './layout.js';
import { parseCommit } from './objects/commit.js';
import { type GitObject, largestObject, ObjectTooLarge, type ObjectType } from './objects/object.js';
import { openObjectStore } from './objects/object-store.js';
import { damaged } from './problem.js';
import { type TreeEntry, treeEntries } from './tree-entries.js';

/** How to check out. */
export type CheckoutOptions = {
  readonly limits?: Partial<CheckoutLimits>;
  /** Whether pointers of git-lfs stay pointers; they fail the checkout otherwise. */
  readonly leaveLfsPointers?: boolean;
  /** Whether submodules stay empty directories; they fail the checkout otherwise. */
  readonly leaveSubmodules?: boolean;
  /** Normal code paths: what else the tree has is neither written nor read. None stand for all of it. */
  readonly paths?: readonly string[];
  /** Asked with the id of the commit's tree before anything is written: what it gives has been put in the place of the directory already. */
  readonly ready?: (tree: string) => Promise<CheckedOut | undefined>;
  /** Ends the checkout, with its reason as the error. */
  readonly signal?: AbortSignal;
};

/** What was checked out. */
export type CheckedOut = {
  readonly entries: number;
  readonly bytes: number;
  /** What the commit has at the code paths; without any, nothing. */
  readonly code: Code;
};

type Link = { readonly path: Buffer; readonly target: Buffer };

/**
 * Writes the tree of a commit into a directory that must be empty or absent. Everything is created anew and nothing is
 * overwritten; symbolic links are created last, so that nothing can be written through them. Files are converted by the attributes of the
 * tree as git does it (gitattributes(5)), but for filters, which are programs; nothing is taken from any configuration. Every object is checked against its name. Files are readable and writable by their owner, and executable where git says so.
 * @param repository directory of a repository, bare or not
 * @param commit - its full hash, in lower-case hexadecimal digits
 * @throws MemoirError FAILED_PRECONDITION as `readLayout` does, or UNSAFE_TREE for a name that cannot be created safely, BAD_CODE_PATH naming a code path that is
 * not there, LFS_POINTER or SUBMODULE naming a path that is one and is not to be left, UNSUPPORTED_ENCODING naming the path; NOT_FOUND OBJECT_MISSING; DATA_LOSS for a malformed or damaged object; RESOURCE_EXHAUSTED CHECKOUT_TOO_LARGE
 */
export async function checkout(
  repository: string,
  commit: string,
  directory: string,
  options: CheckoutOptions = {},
): Promise<CheckedOut> {
  const limits = { ...checkoutLimits, ...options.limits };
  const layout = readLayout(repository, repository);
  const { objectDir, hash } = layout;
  const largest = Math.max(limits.fileBytes, largestObject);
  const objects = openObjectStore({ repository, directory: objectDir, hash, largest });
  const links: Link[] = [];
  const done = { entries: 0, bytes: 0 };
  const { paths = [] } = options;
  const found = new Map<string, CodeEntry>();

  try {
    const failed = (what: string) => damaged(repository, `commit ${commit}: ${what}`);
    const { tree } = parseCommit(read(commit, 'commit'), hash.hex, failed);
    const ready = await options.ready?.(tree);
    if (ready) return ready;
    makeDirectory(directory);
    const selected = paths.length === 0 ? 'all' : selectionOf(paths);
    if (selected === 'all' && paths.length > 0) found.set('.', { path: '.', mode: modes.tree, oid: tree });
    await walk(tree, Buffer.from(resolve(directory)), '', undefined, 1, selected);
    for (const { path, target } of links) await symlink(target, path);
    return { ...done, code: { objectFormat: hash.name, entries: paths.map(entryAt) } };
  } finally {
    objects.close();
  }

  function entryAt(path: string): CodeEntry {
    const entry = found.get(path);
    if (entry) return entry;
    throw refused('BAD_CODE_PATH', `there is no ${quote(path)}`);
  }

  /** `shown` is the path of the directory, with "/" behind it; `above` has the attributes of the one that it is in. */
  async function walk(
    tree: string,
    at: Buffer,
    shown: string,
    above: { attributes: Attributes; name: string } | undefined,
    depth: number,
    selected: Selection,
  ): Promise<void> {
    if (depth > limits.depth) throw tooLarge(`its directories are nested more than ${limits.depth} deep`);
    const content = read(tree, 'tree');
    const where = `tree ${tree}${shown === '' ? '' : ` (${quote(shown)})`}`;
    const some = selected === 'all' ? undefined : selected;
    const entries = treeEntries(content, hash.bytes, where, some && ((name) => some.has(name)));
    const file = attributeFile(entries, shown);
    const attributes = above ? above.attributes.inside(above.name, file) : rootAttributes(file);
    for (const entry of entries) {
      options.signal?.throwIfAborted();
      done.entries += 1;
      if (done.entries > limits.entries) throw tooLarge(`it has more than ${limits.entries} entries`);
      const inside = some?.get(entry.name.toString('latin1')) ?? 'all';
      const path = `${shown}${entry.name}`;
      if (some && inside === 'all') found.set(path, { path, mode: modes[entry.kind], oid: entry.oid });
      // What is below a code path that is no directory is not there.
      if (inside !== 'all' && entry.kind !== 'tree') continue;
      await make(entry, Buffer.concat([at, Buffer.from('/'), entry.name]), path, attributes, depth, inside);
    }
  }

  function attributeFile(entries: readonly TreeEntry[], shown: string): AttributeFile | undefined {
    const entry = entries.find(({ name, kind }) => isFile(kind) && name.toString('latin1') === '.gitattributes');
    if (!entry) return undefined;
    const content = read(entry.oid, 'blob');
    if (content.length <= limits.attributeBytes) return readAttributeFile(content, shown === '');
    throw tooLarge(
      `${quote(`${shown}.gitattributes`)} has ${content.length} bytes, and ${limits.attributeBytes} is the limit`,
    );
  }

  async function make(
    entry: TreeEntry,
    path: Buffer,
    shown: string,
    attributes: Attributes,
    depth: number,
    selected: Selection,
  ): Promise<void> {
    if (entry.kind === 'submodule' && !options.leaveSubmodules) {
      throw refused(
        'SUBMODULE',
        `${quote(shown)} is a submodule, which Memoir does not fetch; a request may leave submodules empty`,
      );
    }
    if (entry.kind === 'tree' || entry.kind === 'submodule') {
      await mkdir(path);
      const name = entry.name.toString('latin1');
      if (entry.kind === 'tree') await walk(entry.oid, path, `${shown}/`, { attributes, name }, depth + 1, selected);
      return;
    }
    const held = read(entry.oid, 'blob');
    const content = entry.kind === 'symlink' ? held : converted(held, entry, shown, attributes);
    if (content.length > limits.fileBytes) throw tooLarge(`${quote(shown)} has ${content.length} bytes`);
    done.bytes += content.length;
    if (done.bytes > limits.totalBytes) throw tooLarge(`its files have more than ${limits.totalBytes} bytes`);
    if (entry.kind === 'symlink') {
      if (content.length === 0 || content.length > 4_095 || content.includes(0)) {
        throw refused('UNSAFE_TREE', `the symbolic link ${quote(shown)} has no target that can be created`);
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

  /** The content of a file as its attributes want it. */
  function converted(content: Buffer, { name, oid }: TreeEntry, shown: string, attributes: Attributes): Buffer {
    const own = attributes.of(name.toString('latin1'));
    if (!options.leaveLfsPointers && own.get('filter') === 'lfs' && isLfsPointer(content)) {
      throw refused(
        'LFS_POINTER',
        `${quote(shown)} is a pointer of git-lfs, whose content Memoir does not fetch; a request may leave pointers`,
      );
    }
    const made = convert(content, oid, own);
    if ('problem' in made) {
      throw refused('UNSUPPORTED_ENCODING', `the working-tree-encoding of ${quote(shown)} ${made.problem}`);
    }
    return made;
  }

  function refused(reason: string, what: string): MemoirError {
    return new MemoirError('FAILED_PRECONDITION', reason, `commit ${commit} cannot be checked out: ${what}`);
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
      const what = `${type} ${oid} of ${quote(repository)} is missing${whyMissing(layout)}`;
      const { partialOf } = layout;
      throw new MemoirError(
        'NOT_FOUND',
        'OBJECT_MISSING',
        what,
        partialOf === undefined ? {} : { metadata: { partialOf } },
      );
    }
    if (found.type !== type) throw damaged(repository, `${type} ${oid} is a ${found.type}`);
    return found.data;
  }

  function tooLarge(what: string): MemoirError {
    return new MemoirError('RESOURCE_EXHAUSTED', 'CHECKOUT_TOO_LARGE', `commit ${commit} is too large: ${what}`);
  }
}

function isFile(kind: TreeEntry['kind']): boolean {
  return kind === 'file' || kind === 'executable';
}
