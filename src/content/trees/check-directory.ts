import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Directory, DirectorySchema } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { quote } from '../../domain/errors.js';
import { compareText } from '../../domain/filters/compare-text.js';
import { type BlobName, blobName, blobText } from '../blob-name.js';
import { upsOf } from './link-target.js';
import { badTree, largestDirectory, longestName, longestTarget } from './tree-limits.js';

/** What a directory holds. */
export type Node =
  | { readonly kind: 'file'; readonly name: string; readonly blob: BlobName; readonly executable: boolean }
  | { readonly kind: 'directory'; readonly name: string; readonly blob: BlobName }
  | {
      readonly kind: 'symlink';
      readonly name: string;
      readonly target: string;
      /** How many directories above its own the target begins. */
      readonly ups: number;
    };

/**
 * What a blob holds that is a Directory of the Remote Execution API in its canonical form: files, directories and links each sorted by the
 * bytes of their names, no name twice, nothing that this version does not know. Beyond that API, as Memoir stores trees: links are relative,
 * with ".." only at their beginning, and there are no node properties. The nodes are sorted by the bytes of their names, a directory's with
 * "/" behind it, so that a walk meets paths in the order of their bytes.
 * @throws MemoirError INVALID_ARGUMENT BAD_TREE naming the blob and what is wrong
 */
export function nodesOf(blob: BlobName, data: Uint8Array): Node[] {
  const wrong = (why: string) => badTree(`blob ${blobText(blob)} is no directory of a tree: ${why}`);
  if (data.length > largestDirectory) throw wrong(`it has more than ${largestDirectory} bytes`);
  let directory: Directory;
  try {
    directory = fromBinary(DirectorySchema, data);
  } catch (error) {
    throw wrong((error as Error).message);
  }
  const names = new Set<string>();

  /** Checks the names of nodes of one kind. */
  function checkNames(kind: string, nodes: readonly { readonly name: string }[]): void {
    let before: string | undefined;
    for (const { name } of nodes) {
      const bad = badName(name);
      if (bad !== undefined) throw wrong(`the name ${quote(name)} ${bad}`);
      if (names.has(name)) throw wrong(`the name ${quote(name)} is there twice`);
      if (before !== undefined && compareText(before, name) >= 0) {
        throw wrong(`its ${kind} are not sorted: ${quote(name)} stands behind ${quote(before)}`);
      }
      names.add(name);
      before = name;
    }
  }

  checkNames('files', directory.files);
  checkNames('directories', directory.directories);
  checkNames('symlinks', directory.symlinks);
  const properties = [directory, ...directory.files, ...directory.symlinks].some((one) => one.nodeProperties);
  if (properties) throw wrong('it has node properties, which are not kept');
  const nodes: Node[] = [
    ...directory.files.map(({ name, digest, isExecutable: executable }): Node => {
      return { kind: 'file', name, blob: digestOf(name, digest), executable };
    }),
    ...directory.directories.map(
      ({ name, digest }): Node => ({ kind: 'directory', name, blob: digestOf(name, digest) }),
    ),
    ...directory.symlinks.map(({ name, target }): Node => {
      const ups = upsOf(target);
      if (ups === undefined || Buffer.byteLength(target) > longestTarget) {
        throw wrong(`the link ${quote(name)} to ${quote(target)} is not one that stays in a tree`);
      }
      return { kind: 'symlink', name, target, ups };
    }),
  ];
  if (!Buffer.from(toBinary(DirectorySchema, directory, { writeUnknownFields: false })).equals(data)) {
    throw wrong('it is not in canonical form');
  }
  return nodes.sort((a, b) => compareText(sortName(a), sortName(b)));

  function digestOf(name: string, digest: Parameters<typeof blobName>[1]): BlobName {
    try {
      return blobName(`digest of ${quote(name)}`, digest);
    } catch (error) {
      throw wrong((error as Error).message);
    }
  }
}

/** Why something can't be the name of an entry of a tree; undefined if it can. */
export function badName(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'is no name of an entry';
  if (name.includes('/')) return 'has a "/"';
  if (name.includes('\0')) return 'has a NUL';
  if (!name.isWellFormed()) return 'is not UTF-8';
  return Buffer.byteLength(name) > longestName ? `has more than ${longestName} bytes` : undefined;
}

const sortName = ({ kind, name }: Node): string => (kind === 'directory' ? `${name}/` : name);
