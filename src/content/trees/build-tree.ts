import { hash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { DirectorySchema } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { quote } from '../../domain/errors.js';
import { compareText } from '../../domain/filters/compare-text.js';
import type { BlobName } from '../blob-name.js';
import { badName } from './check-directory.js';
import { upsOf } from './link-target.js';
import { badTree, largestDirectory, longestTarget } from './tree-limits.js';

/** Something of a tree, by its path from the root with "/" between its parts. */
export type TreeFile =
  | { readonly path: string; readonly blob: BlobName; readonly executable: boolean }
  | { readonly path: string; readonly symlink: string };

/** A tree as it is stored. */
export type BuiltTree = {
  /** The Directory that all of it hangs from. */
  readonly root: BlobName;
  /** The bytes of every Directory, each once, by its hash. */
  readonly directories: ReadonlyMap<string, Uint8Array>;
};

type Folder = {
  readonly files: Map<string, Extract<TreeFile, { readonly blob: BlobName }>>;
  readonly links: Map<string, string>;
  readonly folders: Map<string, Folder>;
};

const emptyFolder = (): Folder => ({ files: new Map(), links: new Map(), folders: new Map() });

/**
 * The Directory messages of a tree, in canonical form. Directories are those that a file or link is in: empty ones have no place in it, as
 * owners and times have none.
 * @throws MemoirError INVALID_ARGUMENT BAD_TREE naming a path that no tree can have, or that is there twice
 */
export function buildTree(files: Iterable<TreeFile>): BuiltTree {
  const top = emptyFolder();
  for (const file of files) add(top, file);
  const directories = new Map<string, Uint8Array>();
  return { root: encode(top, ''), directories };

  function encode(folder: Folder, path: string): BlobName {
    const data = toBinary(
      DirectorySchema,
      create(DirectorySchema, {
        files: sorted(folder.files).map(([name, { blob, executable: isExecutable }]) => {
          return { name, digest: { hash: blob.hash, sizeBytes: BigInt(blob.size) }, isExecutable };
        }),
        directories: sorted(folder.folders).map(([name, below]) => {
          const { hash, size } = encode(below, `${path}${name}/`);
          return { name, digest: { hash, sizeBytes: BigInt(size) } };
        }),
        symlinks: sorted(folder.links).map(([name, target]) => ({ name, target })),
      }),
    );
    if (data.length > largestDirectory) throw badTree(`too much lies in one directory, ${quote(path)}`);
    const name = { hash: hash('sha256', data), size: data.length };
    directories.set(name.hash, data);
    return name;
  }
}

function add(top: Folder, file: TreeFile): void {
  const parts = file.path.split('/');
  const name = parts.pop() as string;
  let folder = top;
  for (const part of parts) {
    check(file.path, part);
    const below = folder.folders.get(part) ?? emptyFolder();
    if (folder.files.has(part) || folder.links.has(part)) throw twice(file.path);
    folder.folders.set(part, below);
    folder = below;
  }
  check(file.path, name);
  if (folder.files.has(name) || folder.links.has(name) || folder.folders.has(name)) throw twice(file.path);
  if ('symlink' in file) {
    const ups = upsOf(file.symlink);
    if (ups === undefined || ups > parts.length || Buffer.byteLength(file.symlink) > longestTarget) {
      throw badTree(`the symbolic link ${quote(file.path)} to ${quote(file.symlink)} leads out of the tree`);
    }
    folder.links.set(name, file.symlink);
  } else folder.files.set(name, file);
}

function check(path: string, name: string): void {
  const bad = badName(name);
  if (bad !== undefined) throw badTree(`the path ${quote(path)}: ${quote(name)} ${bad}`);
}

const twice = (path: string) => badTree(`the path ${quote(path)} is there twice`);

function sorted<T>(entries: ReadonlyMap<string, T>): [string, T][] {
  return [...entries].sort(([a], [b]) => compareText(a, b));
}
