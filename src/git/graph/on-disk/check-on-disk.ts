import { createHash } from 'node:crypto';
import type { HashAlgorithm } from '../../hash.js';
import { BadCommitGraph, type GraphLayer } from '../graph-layers.js';

/**
 * Bytes that are read and hashed at a time, always into the same memory: to fill memory that was never used takes nearly as long as the hashing, and
 * to start a thread for it takes longer.
 */
const pieceBytes = 512 * 1024;

/**
 * Computes the checksums of files that are read as they are needed, but of those that are known to be intact by what they are.
 * @throws BadCommitGraph if one of them is wrong
 */
export function* checkOnDisk(
  layers: readonly GraphLayer[],
  hash: HashAlgorithm,
  known: (identity: string) => boolean,
): Generator<undefined, void> {
  for (const layer of layers) {
    const { path, identity, readInto } = layer;
    if (!readInto || (identity !== undefined && known(identity))) continue;
    if (!(yield* isIntact(layer, readInto, hash))) throw new BadCommitGraph(`${path}: its checksum is wrong`);
  }
}

function* isIntact(
  { size }: GraphLayer,
  readInto: NonNullable<GraphLayer['readInto']>,
  { name, bytes: width }: HashAlgorithm,
): Generator<undefined, boolean> {
  const running = createHash(name);
  const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, size));
  const end = size - width;
  for (let at = 0; at < end; ) {
    const part = piece.subarray(0, Math.min(piece.length, end - at));
    if (readInto(part, at) < part.length) return false;
    running.update(part);
    at += part.length;
    yield;
  }
  const said = Buffer.alloc(width);
  return readInto(said, end) === width && running.digest().equals(said);
}
