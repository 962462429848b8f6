import { setImmediate as turn } from 'node:timers/promises';
import { MemoirError, quote } from '../../domain/errors.js';
import type { BlobName } from '../blob-name.js';
import type { ContentStore } from '../content.js';
import { type Node, nodesOf } from './check-directory.js';
import { knownDirectories, readDirectory } from './read-directory.js';
import { badTree, type TreeLimits, treeLimits, treeTooLarge } from './tree-limits.js';

/** An entry that a walk meets. `path` has "/" between its parts. */
export type TreeEntry = { readonly path: string; readonly node: Node };

/** What a walk is told of. */
export type WalkOptions = {
  readonly limits?: TreeLimits;
  /** How many directories down it goes; absent for all. The entries of those that it does not go into are told all the same. */
  readonly levels?: number;
  /** Where the tree hangs that is walked, which counts for its depth and for where links lead. */
  readonly at?: string;
  /** Told of a directory that is not there, which the walk then passes over; without it that ends the walk. */
  readonly onMissing?: (directory: BlobName) => void;
};

/** Entries that are told at once. */
const batch = 1_000;

/** Bytes of directories that are read ahead of where a walk is, and how deep it may be for that. */
const aheadBytes = 1024 * 1024;
const aheadDepth = 16;

/** A directory that the walk is in. */
type Frame = {
  readonly hash: string;
  /** Entries that were counted before it. */
  readonly before: number;
  readonly prefix: string;
  readonly nodes: readonly Node[];
  next: number;
  /** Directories below that were read ahead, by their hash. */
  ahead: Map<string, Uint8Array | MemoirError>;
};

/**
 * Everything in a tree, in the order of the bytes of the paths, each directory before what is in it, as often as it stands in the tree.
 * Every directory is checked, and the limits hold for what the tree is unpacked, so that one which is small and expands to more than can be
 * is refused before that costs much.
 * @throws MemoirError INVALID_ARGUMENT BAD_TREE, TREE_TOO_LARGE; NOT_FOUND BLOB_NOT_FOUND, and what `content` throws
 */
export async function* walkTree(
  content: Pick<ContentStore, 'get'>,
  root: BlobName,
  { limits = treeLimits, levels = Number.POSITIVE_INFINITY, at = '', onMissing }: WalkOptions = {},
): AsyncGenerator<readonly TreeEntry[]> {
  const above = at === '' ? 0 : at.split('/').length;
  const stack: Frame[] = [];
  // For those that stand in a tree more than once.
  const known = knownDirectories();
  const totals = new Map<string, number>();
  let entries = 0;
  let bytes = 0;
  let told: TreeEntry[] = [];

  async function enter(blob: BlobName, read: () => Promise<Uint8Array | MemoirError>, prefix: string): Promise<void> {
    let nodes = known.get(blob.hash);
    if (!nodes) {
      const data = await read();
      if (data instanceof MemoirError) {
        if (data.code !== 'NOT_FOUND' || !onMissing) throw data;
        onMissing(blob);
        return;
      }
      nodes = nodesOf(blob, data);
      known.set(blob.hash, nodes);
    }
    const before = entries;
    // One that was met before has as much in it now.
    entries = before + Math.max(nodes.length, totals.get(blob.hash) ?? 0);
    if (entries > limits.entries) throw treeTooLarge(`it has more than ${limits.entries} entries`);
    if (stack.length + above >= limits.depth) {
      throw treeTooLarge(`more than ${limits.depth} directories lie below each other`);
    }
    entries = before + nodes.length;
    stack.push({ hash: blob.hash, before, prefix, nodes, next: 0, ahead: new Map() });
  }

  await enter(root, () => readDirectory(content, root), at === '' ? '' : `${at}/`);
  for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
    const within = frame;
    const node = frame.nodes[frame.next++];
    if (!node) {
      totals.set(frame.hash, entries - frame.before);
      stack.pop();
      continue;
    }
    const path = frame.prefix + node.name;
    if (Buffer.byteLength(path) > limits.path) throw treeTooLarge(`a path has more than ${limits.path} bytes`);
    if (node.kind === 'symlink' && node.ups > stack.length - 1 + above) {
      throw badTree(`the link ${quote(path)} to ${quote(node.target)} leads out of the tree`);
    }
    if (node.kind === 'file') {
      bytes += node.blob.size;
      if (bytes > limits.bytes) throw treeTooLarge(`its files have more than ${limits.bytes} bytes`);
    }
    told.push({ path, node });
    if (told.length >= batch) {
      yield told;
      told = [];
      // A tree of which nothing needs to be read holds nobody else up.
      await turn();
    }
    if (node.kind === 'directory' && stack.length < levels) {
      await enter(node.blob, () => below(within, node.blob, stack.length), `${path}/`);
    }
  }
  if (told.length > 0) yield told;

  /** A directory below one, which may have been read ahead; else it is read now, with others that follow it. */
  async function below(frame: Frame, blob: BlobName, depth: number): Promise<Uint8Array | MemoirError> {
    const known = frame.ahead.get(blob.hash);
    if (known) return known;
    const names = new Map<string, BlobName>([[blob.hash, blob]]);
    let size = blob.size;
    for (let i = frame.next; depth <= aheadDepth && i < frame.nodes.length; i++) {
      const node = frame.nodes[i] as Node;
      if (node.kind !== 'directory') continue;
      size += node.blob.size;
      if (size > aheadBytes) break;
      names.set(node.blob.hash, node.blob);
    }
    if (names.size === 1) return readDirectory(content, blob);
    const found = await content.get([...names.values()]);
    frame.ahead = new Map([...names.keys()].map((hash, i) => [hash, found[i] as Uint8Array | MemoirError]));
    return frame.ahead.get(blob.hash) as Uint8Array | MemoirError;
  }
}
