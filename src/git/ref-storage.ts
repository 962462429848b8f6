import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../domain/errors.js';
import { isHex } from './hash.js';
import type { Layout } from './layout.js';
import { openPackedRefs } from './packed-refs.js';
import { damaged, errno, unavailable } from './problem.js';
import { isRefName } from './ref-name.js';
import { openStack, type RefContent, type Stack } from './reftable/stack.js';

/** Where the refs of a repository are kept. */
export type RefStorage = {
  /** What a full ref name is, symbolic refs not followed; undefined if there is none. @throws MemoirError DATA_LOSS if it is damaged */
  content(name: string): RefContent | undefined;
  /** The names of refs, at least of all under `refs/`, with the objects of those that are known then; a later one of the same name counts. */
  list(): Iterable<{ readonly name: string; readonly id?: string }>;
  close(): void;
};

/** Refs in files of their own and in `packed-refs`. */
export function openRefFiles(layout: Layout, now: () => number): RefStorage {
  const { name: repository, gitDir, commonDir, hash } = layout;
  const packed = openPackedRefs(join(commonDir, 'packed-refs'), hash.hex, now, (what) => damaged(repository, what));

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

  return {
    content(name) {
      const loose = readRefFile(layout, name);
      if (loose || !name.startsWith('refs/')) return loose;
      const id = packed.get(name);
      return id === undefined ? undefined : { id };
    },
    *list() {
      yield* packed.entries();
      for (const name of looseNames()) yield { name };
    },
    close: packed.close,
  };
}

/** Root refs that git keeps in files wherever it keeps the others, since they hold more than a ref does (gitglossary(7), "pseudoref"). */
const alwaysFiles: ReadonlySet<string> = new Set(['FETCH_HEAD', 'MERGE_HEAD']);

/** Refs in reftables: those of the repository, and those of the work tree where it is not the main one. */
export function openReftables(layout: Layout, now: () => number): RefStorage {
  const { name: repository, gitDir, commonDir, hash } = layout;
  const open = (directory: string): Stack =>
    openStack(join(directory, 'reftable'), hash, now, (what) => damaged(repository, what));
  const shared = open(commonDir);
  const own = gitDir === commonDir ? shared : open(gitDir);

  return {
    content(name) {
      if (alwaysFiles.has(name)) return readRefFile(layout, name);
      try {
        return (isPerWorkTree(name) ? own : shared).get(name);
      } catch (error) {
        const code = errno(error);
        if (code === undefined) throw error;
        throw unavailable(repository, `cannot read the ref ${quote(name)}: ${code}`, error);
      }
    },
    *list() {
      yield* named(shared, (name) => own === shared || !isPerWorkTree(name));
      if (own !== shared) yield* named(own, isPerWorkTree);
    },
    close() {
      shared.close();
      own.close();
    },
  };
}

function* named(stack: Stack, wanted: (name: string) => boolean): Iterable<{ name: string; id?: string }> {
  for (const [name, content] of stack.entries()) {
    if (wanted(name)) yield 'id' in content ? { name, id: content.id } : { name };
  }
}

const buffer = Buffer.alloc(4096);

/** What the file of a ref says; of a symbolic link into `refs/`, as old versions of git made them, the same as of a ref file. */
function readRefFile({ name: repository, gitDir, commonDir, hash }: Layout, name: string): RefContent | undefined {
  const path = join(isPerWorkTree(name) ? gitDir : commonDir, name);
  const text = readText(repository, name, path);
  if (text === undefined) return undefined;
  if (text.startsWith('ref:')) return { target: text.slice('ref:'.length).trim() };
  const id = text.slice(0, hash.hex);
  const after = text.charAt(hash.hex);
  if (id.length === hash.hex && isHex(id) && (after === '' || /\s/.test(after))) return { id: id.toLowerCase() };
  throw damaged(repository, `the ref ${quote(name)} holds ${quote(text, 80)}`);
}

function readText(repository: string, name: string, path: string): string | undefined {
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
