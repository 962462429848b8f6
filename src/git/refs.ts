import { MemoirError, quote } from '../domain/errors.js';
import type { Layout } from './layout.js';
import { damaged } from './problem.js';
import { isRefName, isRootRef } from './ref-name.js';
import { openRefFiles, openReftables } from './ref-storage.js';

/** A ref and the object that it names. */
export type Ref = { readonly name: string; readonly id: string };

/**
 * The refs of a repository as they are at the moment of each call. Files are read synchronously: a look-up is a handful of
 * system calls of about two microseconds each, a tenth of what handing them to a thread costs.
 */
export type Refs = {
  /** The object that a full ref name gives, symbolic refs followed; undefined if there is none. */
  read(name: string): string | undefined;
  /** The ref that a short name means, looked up in git's order (gitrevisions(7)); undefined if there is none. */
  find(short: string): Ref | undefined;
  /** HEAD and every ref under `refs/`, sorted by name; those that point nowhere are left out. In steps, since there may be very many. */
  list(): Generator<undefined, Ref[]>;
  close(): void;
};

/** git follows no longer chain of symbolic refs. */
const deepestSymbolicRef = 5;

/**
 * Refs of a repository, in whatever way it keeps them.
 * @param now - wall-clock time in milliseconds
 */
export function openRefs(layout: Layout, now: () => number): Refs {
  const { name: repository } = layout;
  const storage = layout.refStorage === 'reftable' ? openReftables(layout, now) : openRefFiles(layout, now);

  function read(name: string, depth = 0): string | undefined {
    const content = storage.content(name);
    if (content === undefined) return undefined;
    if ('id' in content) return content.id;
    const { target } = content;
    if (!isRefName(target) || depth === deepestSymbolicRef) {
      throw damaged(repository, `the symbolic ref ${quote(name)} says ${quote(`ref: ${target}`)}`);
    }
    return read(target, depth + 1);
  }

  function find(short: string): Ref | undefined {
    if (!isRefName(short)) return undefined;
    for (const name of candidates(short)) {
      const id = read(name);
      if (id !== undefined) return { name, id };
    }
    return undefined;
  }

  function* list(): Generator<undefined, Ref[]> {
    const found = new Map<string, string>();
    const head = readSound('HEAD');
    if (head !== undefined) found.set('HEAD', head);
    for (const { name, id } of storage.list()) {
      yield;
      if (!name.startsWith('refs/') || !isRefName(name)) continue;
      const named = id ?? readSound(name);
      if (named !== undefined) found.set(name, named);
      // A broken file is what counts, not what was packed before.
      else found.delete(name);
    }
    return [...found].map(([name, id]) => ({ name, id })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Like git, a list of refs passes over the broken ones, so that one of them does not take the others away. */
  function readSound(name: string): string | undefined {
    try {
      return read(name);
    } catch (error) {
      if (error instanceof MemoirError && error.code === 'DATA_LOSS') return undefined;
      throw error;
    }
  }

  return { read, find, list, close: storage.close };
}

/** git's `ref_rev_parse_rules`, where the first only takes what cannot be some other file of the repository. */
function* candidates(short: string): Iterable<string> {
  if (short.startsWith('refs/') || isRootRef(short)) yield short;
  yield `refs/${short}`;
  yield `refs/tags/${short}`;
  yield `refs/heads/${short}`;
  yield `refs/remotes/${short}`;
  yield `refs/remotes/${short}/HEAD`;
}
