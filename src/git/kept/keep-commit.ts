import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { MemoirError, quote } from '../../domain/errors.js';
import { replaceDurably, syncDirectory } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import type { CheckoutLimits } from '../checkout-limits.js';
import { type Layout, readLayout, whyMissing } from '../layout.js';
import { parseCommit } from '../objects/commit.js';
import { type GitObject, ObjectTooLarge, type ObjectType } from '../objects/object.js';
import { type ObjectStore, openObjectStore } from '../objects/object-store.js';
import type { PageCache } from '../objects/paged-file.js';
import type { KeptCommit } from '../port.js';
import { damaged } from '../problem.js';
import { readShallow } from '../reader/shallow.js';
import { treeEntries } from '../tree-entries.js';
import { findKept, keptPath, keptRef, prepareKept } from './kept-repository.js';
import { openObjectWriter } from './object-writer.js';

/** A commit that is to be kept. */
export type ToKeep = {
  /** The repository that has it. */
  readonly source: Layout;
  /** The directory of all repositories of kept commits. */
  readonly root: string;
  /** Where the repository is: what is kept of another under its name is another. */
  readonly place: string;
  /** The commit, in lower-case hexadecimal digits. */
  readonly commit: string;
  /** The job that uses it. */
  readonly uuid: string;
};

/** What keeping takes from what is around it. */
export type KeepOptions = {
  readonly limits: CheckoutLimits;
  readonly pages: PageCache;
  /** Trees that are kept durably with all that is in them, by path and id; so they are not walked again. */
  readonly whole: { has(tree: string): boolean; set(tree: string, whole: true): unknown };
  readonly signal: AbortSignal;
};

/** How long this goes on before messages of other threads have their turn, in milliseconds. */
const slice = 10;

/**
 * Copies a commit with its tree and everything in that, but neither its parents nor submodules, into the repository of kept
 * commits, and then sets the job's ref to it. Every object is checked against its name. May be broken off at any moment and
 * begun again; there must be no other at the same time that keeps commits of the same repository.
 * @throws MemoirError NOT_FOUND OBJECT_MISSING; DATA_LOSS for damaged or malformed objects; FAILED_PRECONDITION UNSAFE_TREE as a
 * checkout has it; RESOURCE_EXHAUSTED KEEP_TOO_LARGE; or what the system says of a full disk, or the signal
 */
export async function keepCommit(
  { source, root, place, commit, uuid }: ToKeep,
  { limits, pages, whole, signal }: KeepOptions,
): Promise<KeptCommit> {
  const { name: repository, hash } = source;
  const ref = keptRef(uuid);
  if (commit.length !== hash.hex || !/^[0-9a-f]+$/.test(commit)) {
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_COMMIT', `${quote(commit)} is no full hash of ${quote(repository)}`);
  }
  const path = keptPath(root, repository, place);
  const done = { objects: 0, bytes: 0 };
  if (findKept(root, repository, uuid, commit)) return done;
  prepareKept(path, hash);

  const layout = readLayout(repository, path);
  if (layout.hash.name !== hash.name) {
    throw damaged(repository, `its commits are kept in ${quote(path)} by ${layout.hash.name}, not by ${hash.name}`);
  }
  const largest = limits.fileBytes;
  const open = (of: Layout) => openObjectStore({ repository, directory: of.objectDir, hash, pages, largest });
  const kept = open(layout);
  const origin = open(source);
  const writer = openObjectWriter(layout.objectDir);
  let until = performance.now() + slice;
  try {
    const object = read(commit, 'commit');
    const { tree, parents } = parseCommit(object.data, hash.hex, (what) =>
      damaged(repository, `commit ${commit}: ${what}`),
    );
    const trees = await copyTrees(tree);
    writer.sync();
    for (const id of trees) whole.set(`${path} ${id}`, true);
    // The cut comes before the commit, so that there never is a commit whose parents are missed.
    if (parents.length > 0) cutBehind(layout, commit);
    if (!kept.typeOf(commit)) await write(commit, object);
    writer.sync();
    placeRef(path, ref, commit);
    return done;
  } finally {
    kept.close();
    origin.close();
  }

  /** Copies everything below a tree and then the tree, each distinct object once; gives the trees that it came to. */
  async function copyTrees(top: string): Promise<ReadonlySet<string>> {
    const met = new Set([top]);
    const waiting = [{ id: top, depth: 1 }];
    let entries = 0;
    let bytes = 0;
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { id, depth } = next;
      if (whole.has(`${path} ${id}`)) continue;
      if (depth > limits.depth) throw tooLarge(`its directories are nested more than ${limits.depth} deep`);
      const object = read(id, 'tree');
      for (const entry of treeEntries(object.data, hash.bytes, `tree ${id}`)) {
        await breathe();
        entries += 1;
        if (entries > limits.entries) throw tooLarge(`it has more than ${limits.entries} entries`);
        if (entry.kind === 'tree') {
          if (!met.has(entry.oid)) waiting.push({ id: entry.oid, depth: depth + 1 });
          met.add(entry.oid);
        } else if (entry.kind !== 'submodule') bytes += await copyBlob(entry.oid);
        if (bytes > limits.totalBytes) throw tooLarge(`its files have more than ${limits.totalBytes} bytes`);
      }
      if (!kept.typeOf(id)) await write(id, object);
    }
    return met;
  }

  /** Gives the bytes that it wrote. */
  async function copyBlob(id: string): Promise<number> {
    const type = kept.typeOf(id);
    if (type === 'blob') return 0;
    const blob = read(id, 'blob');
    await write(id, blob);
    return blob.data.length;
  }

  /** What an earlier attempt has copied is read from there, as the origin may have lost it since. */
  function read(id: string, type: ObjectType): GitObject {
    let object: GitObject | undefined;
    try {
      object = readFrom(kept, id) ?? readFrom(origin, id);
    } catch (error) {
      const { cause } = error as Error;
      if (cause instanceof ObjectTooLarge) throw tooLarge(`its ${type} ${id} has ${cause.bytes} bytes or more`);
      throw error;
    }
    if (!object) {
      const what = `${type} ${id} of repository ${quote(repository)} is missing${whyMissing(source)}`;
      throw new MemoirError('NOT_FOUND', 'OBJECT_MISSING', what, { metadata: { repository } });
    }
    if (object.type !== type) throw damaged(repository, `object ${id} is a ${object.type}, where a ${type} was meant`);
    return object;
  }

  async function write(id: string, object: GitObject): Promise<void> {
    await writer.write(id, object, signal);
    done.objects += 1;
    done.bytes += object.data.length;
  }

  async function breathe(): Promise<void> {
    signal.throwIfAborted();
    if (performance.now() < until) return;
    await turn();
    until = performance.now() + slice;
  }

  function tooLarge(what: string): MemoirError {
    return new MemoirError(
      'RESOURCE_EXHAUSTED',
      'KEEP_TOO_LARGE',
      `commit ${commit} is too large to be kept: ${what}`,
      {
        metadata: { repository },
      },
    );
  }
}

function readFrom(objects: ObjectStore, id: string): GitObject | undefined {
  return objects.typeOf(id) && objects.read(id);
}

/** Sets a ref. git removes the directories of refs that it packs, so that they may have to be made again. */
function placeRef(path: string, ref: string, commit: string): void {
  const file = join(path, ref);
  if (makeDirectory(dirname(file))) {
    for (let at = dirname(dirname(file)); at.length >= path.length; at = dirname(at)) syncDirectory(at);
  }
  replaceDurably(file, `${commit}\n`);
}

/** Tells git that the history of a repository ends at a commit. */
function cutBehind(layout: Layout, commit: string): void {
  const cut = readShallow(layout);
  if (cut.has(commit)) return;
  replaceDurably(join(layout.commonDir, 'shallow'), [...cut, commit].map((id) => `${id}\n`).join(''));
}
