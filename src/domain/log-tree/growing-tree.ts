import { hash } from 'node:crypto';

/** Length of every hash of the tree, in bytes. */
export const hashLength = 32;

// Reused: to make one for each of millions of nodes takes longer than the hash.
const node = Buffer.alloc(1 + 2 * hashLength);
node[0] = 1;

/** Hash of an inner node: SHA-256 of a byte 1 and the hashes of its children, of 32 bytes each (RFC 6962, section 2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 1 + hashLength);
  return hash('sha256', node, 'buffer');
}

/** Writes the hash of the inner node whose children stand in `children` at byte `from`, one after the other, to `target` at byte `at`. */
export function writeNodeHash(children: Uint8Array, from: number, target: Buffer, at: number): void {
  node.set(children.subarray(from, from + 2 * hashLength), 1);
  target.write(hash('sha256', node, 'binary'), at, 'latin1');
}

/** Root of the tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Buffer = hash('sha256', '', 'buffer');

/** A tree to which leaves are added, of which only the roots of its complete subtrees are kept. */
export type GrowingTree = {
  /** How many leaves it has. */
  size(): number;
  /** Adds a leaf by its hash. */
  add(leaf: Uint8Array): void;
  /** Adds as many leaves, a power of two of which the size is a multiple, by the root of the subtree that they are. */
  addSubtree(root: Uint8Array, leaves: number): void;
  /** The Merkle tree hash of all leaves so far. */
  root(): Buffer;
  /** Another tree with the same leaves. */
  copy(): GrowingTree;
};

/** Starts without leaves. Takes constant time a leaf and 32 bytes for each binary digit of the size (RFC 6962, section 2.1). */
export function growingTree(): GrowingTree {
  return grownTree([], 0);
}

/** `complete` are the roots of complete subtrees from left to right; their sizes are the binary digits of `size`, so that they descend. */
function grownTree(complete: Uint8Array[], start: number): GrowingTree {
  let size = start;

  function addSubtree(root: Uint8Array, leaves: number): void {
    let merged = root;
    for (let rest = size / leaves; rest % 2 === 1; rest = Math.floor(rest / 2))
      merged = nodeHash(complete.pop() as Uint8Array, merged);
    complete.push(merged);
    size += leaves;
  }

  return {
    size: () => size,
    add: (leaf) => addSubtree(leaf, 1),
    addSubtree,
    copy: () => grownTree([...complete], size),
    root() {
      const last = complete.at(-1);
      if (!last) return emptyRoot;
      return complete.slice(0, -1).reduceRight<Buffer>((right, left) => nodeHash(left, right), Buffer.from(last));
    },
  };
}

/** Adds leaves to a tree: their hashes, one after the other. */
export function addLeaves(tree: GrowingTree, hashes: Uint8Array): void {
  for (let at = 0; at < hashes.length; at += hashLength) tree.add(hashes.subarray(at, at + hashLength));
}
