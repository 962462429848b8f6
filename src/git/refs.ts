import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { MemoirError, quote } from '../domain/errors.js';
import { isHex } from './hash.js';
import type { Layout } from './layout.js';
import { openPackedRefs } from './packed-refs.js';
import { damaged, errno, unavailable } from './problem.js';
import { isRefName, isRootRef } from './ref-name.js';

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
  /** HEAD and every ref under `refs/`, sorted by name; those that point nowhere are left out. */
  list(): Ref[];
  close(): void;
};

/** git follows no longer chain of symbolic refs. */
const deepestSymbolicRef = 5;

/**
 * Refs of a repository kept in files.
 * @param now - wall-clock time in milliseconds
 */
export function openRefs(layout: Layout, now: () => number): Refs {
  const { name: repository, gitDir, commonDir, hash } = layout;
  const packed = openPackedRefs(join(commonDir, 'packed-refs'), hash.hex, now, (what) => damaged(repository, what));
  const buffer = Buffer.alloc(4096);

  function read(name: string, depth = 0): string | undefined {
    const loose = readLoose(name);
    if (loose === undefined) return name.startsWith('refs/') ? packed.get(name) : undefined;
    if (!loose.startsWith('ref:')) return objectId(name, loose);
    const target = loose.slice('ref:'.length).trim();
    if (!isRefName(target) || depth === deepestSymbolicRef) {
      throw damaged(repository, `the symbolic ref ${quote(name)} says ${quote(loose)}`);
    }
    return read(target, depth + 1);
  }

  function objectId(name: string, content: string): string {
    const id = content.slice(0, hash.hex);
    const after = content.charAt(hash.hex);
    if (id.length === hash.hex && isHex(id) && (after === '' || /\s/.test(after))) return id.toLowerCase();
    throw damaged(repository, `the ref ${quote(name)} holds ${quote(content, 80)}`);
  }

  /** Content of the file of a ref; of a symbolic link into `refs/`, as old versions of git made them, the same as a ref file. */
  function readLoose(name: string): string | undefined {
    const path = join(isPerWorkTree(name) ? gitDir : commonDir, name);
    try {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat?.isSymbolicLink()) return `ref: ${readlinkSync(path)}`;
      if (!stat?.isFile()) return undefined;
      const file = openSync(path, 'r');
      try {
        return buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, 0)).trimEnd();
      } finally {
        closeSync(file);
      }
    } catch (error) {
      const code = errno(error);
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
      throw unavailable(repository, `cannot read the ref ${quote(name)}: ${code}`, error);
    }
  }

  function find(short: string): Ref | undefined {
    if (!isRefName(short)) return undefined;
    for (const name of candidates(short)) {
      const id = read(name);
      if (id !== undefined) return { name, id };
    }
    return undefined;
  }

  function list(): Ref[] {
    const found = new Map<string, string>();
    for (const { name, id } of packed.entries()) if (isRefName(name)) found.set(name, id);
    for (const name of [...looseNames(), 'HEAD']) {
      const id = readSound(name);
      if (id !== undefined) found.set(name, id);
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

  function looseNames(): string[] {
    const names: string[] = [];
    const visit = (directory: string, prefix: string, wanted: (name: string) => boolean) => {
      for (const entry of entriesOf(directory)) {
        const name = `${prefix}${entry.name}`;
        if (entry.isDirectory()) visit(join(directory, entry.name), `${name}/`, wanted);
        else if (isRefName(name) && wanted(name)) names.push(name);
      }
    };
    visit(join(commonDir, 'refs'), 'refs/', (name) => gitDir === commonDir || !isPerWorkTree(name));
    if (gitDir !== commonDir) visit(join(gitDir, 'refs'), 'refs/', isPerWorkTree);
    return names;
  }

  return { read, find, list, close: packed.close };
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

function isPerWorkTree(name: string): boolean {
  return !name.startsWith('refs/') || /^refs\/(bisect|worktree|rewritten)\//.test(name);
}

function entriesOf(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}
