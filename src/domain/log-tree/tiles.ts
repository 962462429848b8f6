import { hashLength, writeNodeHash } from './growing-tree.js';
import type { Nodes } from './proof.js';

/** Levels of the tree in one tile (as https://c2sp.org/tlog-tiles). */
export const tileHeight = 8;

/** Hashes in a full tile. */
export const tileWidth = 2 ** tileHeight;

/** Gives the hashes of a tile one after the other: at level 0 of leaves, above of full tiles of the level below. */
export type Tiles = (level: number, tile: number) => Uint8Array;

/** The root of a complete subtree, from its leaves: hashes, one after the other, a power of two of them. */
export function rootOfHashes(hashes: Uint8Array): Buffer {
  const row = Buffer.from(hashes);
  for (let width = row.length; width > hashLength; width /= 2) {
    for (let at = 0; at < width; at += 2 * hashLength) writeNodeHash(row, at, row, at / 2);
  }
  return row.subarray(0, hashLength);
}

/**
 * The complete subtrees of a tree that is kept in tiles. Each tile is asked for once.
 * @throws RangeError naming a tile that has not what the tree's size makes it have
 */
export function nodesOfTiles(tiles: Tiles): Nodes {
  const known = new Map<string, Uint8Array>();
  return (height, index) => {
    const level = Math.floor(height / tileHeight);
    const hashes = 2 ** (height % tileHeight);
    const first = index * hashes;
    const tile = Math.floor(first / tileWidth);
    const name = `${level}/${tile}`;
    const bytes = known.get(name) ?? tiles(level, tile);
    known.set(name, bytes);
    const from = (first % tileWidth) * hashLength;
    const to = from + hashes * hashLength;
    if (bytes.length < to)
      throw new RangeError(`tile ${name} of the log's tree ends at ${bytes.length} of ${to} bytes`);
    return rootOfHashes(bytes.subarray(from, to));
  };
}
