import { createHash, hash } from 'node:crypto';

/** Hash of an inner node: SHA-256 of a byte 1 and the hashes of its children (RFC 6962, section 2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(prefix).update(left).update(right).digest();
}

const prefix = Uint8Array.of(1);

/** Root of the tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Buffer = hash('sha256', '', 'buffer');

/** A tree to which leaves are added, of which only the roots of its complete subtrees are kept. */
export type GrowingTree = {
  /** How many leaves it has. */
  size(): number;
  /** Adds a leaf by its hash. */
  add(leaf: Uint8Array): void;
  /** The Merkle tree hash of all leaves so far. */
  root(): Buffer;
};

/** Starts without leaves. Takes constant time a leaf and 32 bytes for each binary digit of the size (RFC 6962, section 2.1). */
export function growingTree(): GrowingTree {
  // Roots of complete subtrees from left to right; their sizes are the binary digits of `size`, so that they descend.
  const complete: Uint8Array[] = [];
  let size = 0;
  return {
    size: () => size,
    add(leaf) {
      let node = leaf;
      for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2))
        node = nodeHash(complete.pop() as Uint8Array, node);
      complete.push(node);
      size++;
    },
    root() {
      const last = complete.at(-1);
      if (!last) return emptyRoot;
      return complete.slice(0, -1).reduceRight<Buffer>((right, left) => nodeHash(left, right), Buffer.from(last));
    },
  };
}
