import { emptyRoot, nodeHash } from '../../../src/domain/log-tree/growing-tree.js';

// The definitions of RFC 6962, section 2.1, word for word, over leaf hashes.

/** The largest power of two smaller than n. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** MTH(D[n]). */
export function naiveRoot(d: readonly Uint8Array[]): Uint8Array {
  if (d.length === 0) return emptyRoot;
  if (d.length === 1) return d[0] as Uint8Array;
  const k = split(d.length);
  return nodeHash(naiveRoot(d.slice(0, k)), naiveRoot(d.slice(k)));
}

/** PATH(m, D[n]). */
export function naivePath(m: number, d: readonly Uint8Array[]): Uint8Array[] {
  if (d.length === 1) return [];
  const k = split(d.length);
  return m < k
    ? [...naivePath(m, d.slice(0, k)), naiveRoot(d.slice(k))]
    : [...naivePath(m - k, d.slice(k)), naiveRoot(d.slice(0, k))];
}

/** PROOF(m, D[n]). */
export function naiveProof(m: number, d: readonly Uint8Array[], whole = true): Uint8Array[] {
  if (m === d.length) return whole ? [] : [naiveRoot(d)];
  const k = split(d.length);
  return m <= k
    ? [...naiveProof(m, d.slice(0, k), whole), naiveRoot(d.slice(k))]
    : [...naiveProof(m - k, d.slice(k), false), naiveRoot(d.slice(0, k))];
}
