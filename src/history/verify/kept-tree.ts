import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { logTreeQueries } from '../../../projections/history/log-tree.js';
import { addLeaves, growingTree, hashLength } from '../../domain/log-tree/growing-tree.js';
import { rootOf } from '../../domain/log-tree/proof.js';
import { rootOfHashes, tileWidth } from '../../domain/log-tree/tiles.js';

/** Leaves of a tree that was kept beside the log, with the positions that they had. */
export type KeptTile = { readonly hashes: Uint8Array; readonly positions: readonly number[] };

/** The tree that a server kept beside the log. */
export type KeptTree = {
  /** How many leaves it had when it was opened. */
  readonly size: number;
  /** A tile of leaves; those after `size` are left out. Throws if it is not whole. */
  tile(number: number): KeptTile;
  /** Its roots at some sizes, ascending, from its leaves alone; undefined at those above its own. */
  roots(sizes: readonly number[]): (Buffer | undefined)[];
  /** Its root at a size of its own or a smaller one, by what it keeps of subtrees: quick, and not proved by its leaves. */
  root(size: number): Uint8Array;
  close(): void;
};

/** Opens the history of a server, which may be running; undefined if there is none. Throws if it cannot be read. */
export function openKeptTree(path: string): KeptTree | undefined {
  if (!existsSync(path)) return undefined;
  const db = new Database(path, { readonly: true });
  try {
    const queries = logTreeQueries(db);
    const size = queries.size();

    function tile(number: number): KeptTile {
      const count = Math.min(tileWidth, size - number * tileWidth);
      const hashes = queries.tile(0, number).subarray(0, count * hashLength);
      const positions = queries.positions(number).slice(0, count);
      if (hashes.length !== count * hashLength || positions.length !== count) {
        throw new Error(`tile ${number} of the log's tree has not its ${count} leaves`);
      }
      return { hashes, positions };
    }

    return {
      size,
      tile,
      roots(sizes) {
        const tree = growingTree();
        return sizes.map((wanted) => {
          if (wanted > size) return undefined;
          while (tree.size() < wanted) {
            const { hashes } = tile(Math.floor(tree.size() / tileWidth));
            const from = tree.size() % tileWidth;
            const count = Math.min(tileWidth - from, wanted - tree.size());
            if (count === tileWidth) tree.addSubtree(rootOfHashes(hashes), tileWidth);
            else addLeaves(tree, hashes.subarray(from * hashLength, (from + count) * hashLength));
          }
          return tree.root();
        });
      },
      root: (wanted) => rootOf(queries.nodes(), wanted),
      close: () => db.close(),
    };
  } catch (error) {
    db.close();
    throw error;
  }
}
