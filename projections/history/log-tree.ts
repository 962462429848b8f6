import type Database from 'better-sqlite3';
import { hashLength } from '../../src/domain/log-tree/growing-tree.js';
import { writeLeafHash } from '../../src/domain/log-tree/leaf.js';
import { nodesOfTiles, rootOfHashes, tileWidth } from '../../src/domain/log-tree/tiles.js';
import type { Position } from '../../src/eventstore/port.js';
import type { Projection } from '../running/projection.js';

/** Bytes of a position in a row of positions. */
const positionLength = 8;

/**
 * The Merkle tree over the log, every event a leaf, in tiles as https://c2sp.org/tlog-tiles has them: a row of up to 256 hashes, at
 * level 0 of leaves, above of the full tiles of the level below. `log_leaf` has the positions of the leaves of each tile of level 0.
 */
export const logTree: Projection = {
  name: 'log-tree',
  version: 1,
  tables: ['log_tile', 'log_leaf'],
  schema: `
    CREATE TABLE log_tile (
      level INTEGER NOT NULL,
      tile INTEGER NOT NULL,
      hashes BLOB NOT NULL,
      PRIMARY KEY (level, tile)
    ) STRICT;
    CREATE TABLE log_leaf (
      tile INTEGER PRIMARY KEY,
      first INTEGER NOT NULL,
      positions BLOB NOT NULL
    ) STRICT;
    CREATE INDEX log_leaf_first ON log_leaf (first);
  `,
  prepareBatch(db) {
    const last = db.prepare('SELECT tile, hashes FROM log_tile WHERE level = ? ORDER BY tile DESC LIMIT 1');
    const put = db.prepare('INSERT OR REPLACE INTO log_tile (level, tile, hashes) VALUES (?, ?, ?)');
    const positionsOf = db.prepare('SELECT positions FROM log_leaf WHERE tile = ?').pluck();
    const putPositions = db.prepare('INSERT OR REPLACE INTO log_leaf (tile, first, positions) VALUES (?, ?, ?)');

    /** The tile of a level that is not full yet, with room for the rest. */
    function open(level: number): Open {
      const hashes = Buffer.alloc(tileWidth * hashLength);
      const row = last.get(level) as TileRow | undefined;
      const used = row ? row.hashes.length / hashLength : 0;
      if (!row || used === tileWidth) return { tile: row ? row.tile + 1 : 0, hashes, used: 0 };
      row.hashes.copy(hashes);
      return { tile: row.tile, hashes, used };
    }

    function close(level: number, { tile, hashes, used }: Open): void {
      put.run(level, tile, hashes.subarray(0, used * hashLength));
      if (used < tileWidth) return;
      const above = open(level + 1);
      rootOfHashes(hashes).copy(above.hashes, above.used * hashLength);
      close(level + 1, { ...above, used: above.used + 1 });
    }

    return (events) => {
      let { tile, hashes, used } = open(0);
      const positions = Buffer.alloc(tileWidth * positionLength);
      if (used > 0) (positionsOf.get(tile) as Buffer).copy(positions);
      const save = () => {
        close(0, { tile, hashes, used });
        const first = Number(positions.readBigUInt64BE(0));
        putPositions.run(tile, first, positions.subarray(0, used * positionLength));
      };
      for (const event of events) {
        if (used === tileWidth) {
          save();
          tile++;
          used = 0;
        }
        writeLeafHash(event, hashes, used * hashLength);
        positions.writeBigUInt64BE(BigInt(event.position), used * positionLength);
        used++;
      }
      save();
    };
  },
};

type Open = { readonly tile: number; readonly hashes: Buffer; readonly used: number };

type TileRow = { readonly tile: number; readonly hashes: Buffer };

/** Reads of the tree. */
export function logTreeQueries(db: Database.Database) {
  const last = db.prepare('SELECT tile, hashes FROM log_tile WHERE level = 0 ORDER BY tile DESC LIMIT 1');
  const hashesOf = db.prepare('SELECT hashes FROM log_tile WHERE level = ? AND tile = ?').pluck();
  const positionsOf = db.prepare('SELECT positions FROM log_leaf WHERE tile = ?').pluck();
  const tileOf = db.prepare('SELECT tile FROM log_leaf WHERE first <= ? ORDER BY first DESC LIMIT 1').pluck();
  const from = db.prepare('SELECT tile FROM log_leaf WHERE tile >= ? ORDER BY tile LIMIT 1').pluck();
  const none = Buffer.alloc(0);
  const tile = (level: number, number: number) => (hashesOf.get(level, number) as Buffer | undefined) ?? none;

  /** Positions of the leaves of a tile of level 0. */
  function positions(number: number): Position[] {
    const row = (positionsOf.get(number) as Buffer | undefined) ?? none;
    return Array.from({ length: row.length / positionLength }, (_, i) =>
      Number(row.readBigUInt64BE(i * positionLength)),
    );
  }

  return {
    /** How many leaves there are. */
    size(): number {
      const row = last.get() as TileRow | undefined;
      return row ? row.tile * tileWidth + row.hashes.length / hashLength : 0;
    },
    /** The hashes of a tile, one after the other; none if there is no such tile. */
    tile,
    positions,
    /** The complete subtrees, for roots and proofs of as many leaves as there are or fewer. Tiles are read once. */
    nodes: () => nodesOfTiles(tile),
    /** Positions of the next events after a position, in the order of the log: some hundreds; none at the end. */
    positionsAfter(after: Position): Position[] {
      for (let at = (tileOf.get(after) as number | undefined) ?? 0; ; at++) {
        const number = from.get(at) as number | undefined;
        if (number === undefined) return [];
        const later = positions(number).filter((position) => position > after);
        if (later.length > 0) return later;
        at = number;
      }
    },
    /** Number of the leaf that the event at a position is; undefined if there is none. */
    indexOf(position: Position): number | undefined {
      const number = tileOf.get(position) as number | undefined;
      const index = number === undefined ? -1 : positions(number).indexOf(position);
      return index < 0 ? undefined : (number as number) * tileWidth + index;
    },
  };
}
