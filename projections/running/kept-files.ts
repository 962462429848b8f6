import { existsSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import { firstGeneration } from '../../src/domain/generation.js';
import type { KeptLeaves, KeptPlace } from '../../src/eventstore/kept-places.js';
import type { Position } from '../../src/eventstore/port.js';
import { makeDirectory } from '../../src/make-directory.js';

/** A file of projections, and what messages call it. */
export type KeptFile = { readonly path: string; readonly what: string };

/** The last run of a computation, as a kept read model knows it. */
export type KnownRuns = { readonly computationDigest: string; readonly lastRun: number };

/** How far each projection in the files knew the log. A file that is missing, or damaged, knows nothing: it is made anew. */
export function keptPlaces(files: readonly KeptFile[]): KeptPlace[] {
  return files.flatMap(({ path, what }) =>
    read(path, (db) => {
      const rows = db.prepare('SELECT position, event_id AS eventId FROM projection WHERE position > 0').all();
      return (rows as { position: Position; eventId: string }[]).map((row) => ({ ...row, what }));
    }),
  );
}

/** The last run of each computation of which the read model in a file knows jobs after a position. */
export function knownRuns(path: string, after: Position): KnownRuns[] {
  return read(path, (db) => {
    const rows = db.prepare(
      `SELECT computation_digest AS computationDigest, max(run_number) AS lastRun FROM candidate WHERE position > ?
       GROUP BY computation_digest`,
    );
    return rows.all(after) as KnownRuns[];
  });
}

/** Number of the generation that the log was in, as the read model in a file knows it. */
export function keptGeneration(path: string): number {
  const [number] = read(
    path,
    (db) => db.prepare('SELECT max(number) FROM generation').pluck().all() as (number | null)[],
  );
  return number ?? firstGeneration.number;
}

const hashLength = 32;
const positionLength = 8;
const tileWidth = 256;

/** The leaves of the tree in the history in a file; undefined if it has none. */
export function keptLeaves(path: string): KeptLeaves | undefined {
  const inFile = <T>(sql: string, ...values: number[]) => read(path, (db) => db.prepare(sql).all(...values) as T[])[0];
  type Tile = { readonly tile: number; readonly positions: Buffer; readonly hashes: Buffer };
  const tileWhere = (what: string, value: number) =>
    inFile<Tile>(
      `SELECT leaf.tile, positions, hashes FROM log_leaf AS leaf JOIN log_tile ON log_tile.tile = leaf.tile AND level = 0
       WHERE ${what} ORDER BY leaf.tile DESC LIMIT 1`,
      value,
    );
  const last = tileWhere('leaf.tile >= ?', 0);
  if (!last) return undefined;
  const positionIn = ({ positions }: Tile, i: number) => Number(positions.readBigUInt64BE(i * positionLength));
  return {
    size: last.tile * tileWidth + last.hashes.length / hashLength,
    positionOf(index) {
      const tile = tileWhere('leaf.tile = ?', Math.floor(index / tileWidth));
      if (!tile) throw new RangeError(`the history ${path} has no leaf ${index}`);
      return positionIn(tile, index % tileWidth);
    },
    hashAt(position) {
      const tile = tileWhere('first <= ?', position);
      for (let i = 0; tile && i < tile.hashes.length / hashLength; i++) {
        if (positionIn(tile, i) === position) return tile.hashes.subarray(i * hashLength, (i + 1) * hashLength);
      }
      return undefined;
    },
    lastLasting: (upTo) =>
      inFile<{ position: Position | null }>(
        'SELECT max(position) AS position FROM subject_event WHERE position <= ?',
        upTo,
      )?.position ?? undefined,
  };
}

/** Moves files of projections, whole, into a directory that is made for them. */
export function setAside(files: readonly KeptFile[], directory: string): void {
  makeDirectory(directory);
  for (const { path } of files) {
    for (const suffix of ['-shm', '-wal', '-sums', '']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, join(directory, basename(path) + suffix));
    }
  }
}

function read<T>(path: string, work: (db: Database.Database) => T[]): T[] {
  if (!existsSync(path)) return [];
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { readonly: true });
    return work(db);
  } catch (error) {
    if (error instanceof Database.SqliteError) return [];
    throw error;
  } finally {
    db?.close();
  }
}
