import { hashLength } from './growing-tree.js';
import { type Leaf, writeLeafHash } from './leaf.js';
import { rootOfHashes, tileWidth } from './tiles.js';

/** What is wrong with one event by itself. */
export type LeafFault = {
  /** Which leaf of the page. */
  readonly index: number;
  /** `checksum`: it is not what its store wrote; `unreadable`: the store cannot read it, and its hash is all zeros. */
  readonly kind: 'checksum' | 'unreadable';
};

/** Consecutive events of a log as leaves of the tree. */
export type LeafPage = {
  /** Their hashes, one after the other. */
  readonly hashes: Uint8Array;
  /** Their positions in the log. */
  readonly positions: Float64Array;
  /** The roots of the subtrees that each 256 of the leaves are, from the first on, for those that are full. */
  readonly roots: Uint8Array;
  readonly faults: readonly LeafFault[];
  /** Those that record checkpoints: their ProtoJSON. */
  readonly checkpoints: readonly { readonly index: number; readonly data: string }[];
};

/** Makes a page of events. */
export type LeafPageBuilder = {
  readonly count: () => number;
  /** Adds an event, with what is wrong with it. */
  add(leaf: Leaf & { readonly position: number }, fault?: LeafFault['kind']): void;
  /** Adds an event that cannot be read. */
  addUnreadable(position: number): void;
  page(): LeafPage;
};

/** Starts a page of up to so many events. */
export function leafPageBuilder(capacity: number): LeafPageBuilder {
  // A memory of its own for each, so that it can be handed to another thread.
  const hashes = Buffer.from(new ArrayBuffer(capacity * hashLength));
  const positions = new Float64Array(capacity);
  const faults: LeafFault[] = [];
  const checkpoints: { readonly index: number; readonly data: string }[] = [];
  let count = 0;
  return {
    count: () => count,
    add(leaf, fault) {
      positions[count] = leaf.position;
      writeLeafHash(leaf, hashes, count * hashLength);
      if (fault) faults.push({ index: count, kind: fault });
      if (leaf.type === 'CheckpointSigned') checkpoints.push({ index: count, data: leaf.data });
      count++;
    },
    addUnreadable(position) {
      positions[count] = position;
      faults.push({ index: count, kind: 'unreadable' });
      count++;
    },
    page() {
      const full = Math.floor(count / tileWidth);
      const roots = Buffer.from(new ArrayBuffer(full * hashLength));
      for (let i = 0; i < full; i++) {
        const tile = hashes.subarray(i * tileWidth * hashLength, (i + 1) * tileWidth * hashLength);
        rootOfHashes(tile).copy(roots, i * hashLength);
      }
      return {
        hashes: hashes.subarray(0, count * hashLength),
        positions: positions.subarray(0, count),
        roots,
        faults,
        checkpoints,
      };
    },
  };
}
