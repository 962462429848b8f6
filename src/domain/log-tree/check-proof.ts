import { emptyRoot, hashLength, nodeHash } from './growing-tree.js';

/** A tree of which only the size and the root are known. */
export type TreeHead = { readonly size: number; readonly root: Uint8Array };

/**
 * Whether hashes prove that a leaf, given by its hash, is number `index` of a tree (RFC 9162, section 2.1.3.2). Hostile hashes, of
 * any number and length, are no proof.
 */
export function provesInclusion(
  leaf: Uint8Array,
  index: number,
  { size, root }: TreeHead,
  proof: readonly Uint8Array[],
): boolean {
  if (!isIndex(index) || !isIndex(size) || index >= size || !areHashes([leaf, root, ...proof])) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else hash = nodeHash(hash, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && isSame(hash, root);
}

/** Whether hashes prove that one tree is the beginning of another (RFC 9162, section 2.1.4.2). Hostile hashes are no proof. */
export function provesConsistency(older: TreeHead, newer: TreeHead, proof: readonly Uint8Array[]): boolean {
  if (!isIndex(older.size) || !isIndex(newer.size) || older.size > newer.size) return false;
  if (!areHashes([older.root, newer.root, ...proof])) return false;
  if (older.size === newer.size) return proof.length === 0 && isSame(older.root, newer.root);
  if (older.size === 0) return proof.length === 0 && isSame(older.root, emptyRoot);
  const [first, ...rest] = isPowerOfTwo(older.size) ? [older.root, ...proof] : proof;
  if (!first || proof.length === 0) return false;
  let [fn, sn] = [older.size - 1, newer.size - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let [olderHash, newerHash] = [first, first];
  for (const hash of rest) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      olderHash = nodeHash(hash, olderHash);
      newerHash = nodeHash(hash, newerHash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else newerHash = nodeHash(newerHash, hash);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && isSame(olderHash, older.root) && isSame(newerHash, newer.root);
}

// Sizes may be above 2^32, where the operators on bits do not reach.
const half = (n: number) => Math.floor(n / 2);
const isOdd = (n: number) => n % 2 === 1;
const isIndex = (n: number) => Number.isSafeInteger(n) && n >= 0;
const isPowerOfTwo = (n: number) => 2 ** Math.round(Math.log2(n)) === n;
const isSame = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;
const areHashes = (hashes: readonly Uint8Array[]) => hashes.every(({ length }) => length === hashLength);
