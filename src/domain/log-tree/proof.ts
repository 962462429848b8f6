import { emptyRoot, nodeHash } from './growing-tree.js';

/** Gives the hash of a complete subtree: that of the 2^`height` leaves from number `index` · 2^`height` on. */
export type Nodes = (height: number, index: number) => Uint8Array;

/** The Merkle tree hash of the first `size` leaves (RFC 6962, section 2.1). */
export function rootOf(nodes: Nodes, size: number): Uint8Array {
  return size === 0 ? emptyRoot : hashOfRange(nodes, 0, size);
}

/**
 * The hashes by which a leaf and a root of `size` leaves prove that the leaf is number `index` of them (RFC 6962, section 2.1.1).
 * `index` must be less than `size`.
 */
export function inclusionProof(nodes: Nodes, index: number, size: number): Uint8Array[] {
  return path(nodes, index, 0, size);
}

/**
 * The hashes by which the roots of `older` and of `newer` leaves prove that the first tree is the beginning of the second
 * (RFC 6962, section 2.1.2). Empty where there is nothing to prove: from no leaves, or to as many.
 */
export function consistencyProof(nodes: Nodes, older: number, newer: number): Uint8Array[] {
  if (older === 0 || older === newer) return [];
  return subproof(nodes, older, 0, newer, true);
}

function path(nodes: Nodes, index: number, from: number, to: number): Uint8Array[] {
  if (to - from === 1) return [];
  const middle = from + leftSize(to - from);
  return index < middle
    ? [...path(nodes, index, from, middle), hashOfRange(nodes, middle, to)]
    : [...path(nodes, index, middle, to), hashOfRange(nodes, from, middle)];
}

function subproof(nodes: Nodes, older: number, from: number, to: number, whole: boolean): Uint8Array[] {
  if (older === to) return whole ? [] : [hashOfRange(nodes, from, to)];
  const middle = from + leftSize(to - from);
  return older <= middle
    ? [...subproof(nodes, older, from, middle, whole), hashOfRange(nodes, middle, to)]
    : [...subproof(nodes, older, middle, to, false), hashOfRange(nodes, from, middle)];
}

/** The hash of leaves `from` to `to`, which are a subtree: `from` is a multiple of the power of two that holds them. */
function hashOfRange(nodes: Nodes, from: number, to: number): Uint8Array {
  const size = to - from;
  const height = Math.round(Math.log2(size));
  if (2 ** height === size) return nodes(height, from / size);
  const middle = from + leftSize(size);
  return nodeHash(hashOfRange(nodes, from, middle), hashOfRange(nodes, middle, to));
}

/** The largest power of two below a size of 2 or more. */
function leftSize(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}
