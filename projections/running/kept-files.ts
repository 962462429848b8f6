import { existsSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import { firstGeneration } from '../../src/domain/generation.js';
import { hashLength } from '../../src/domain/log-tree/growing-tree.js';
import { tileWidth } from '../../src/domain/log-tree/tiles.js';
import type { KeptLeaves, KeptPlace } from '../../src/eventstore/kept-places.js';
import type { Position } from '../../src/eventstore/port.js';
import { makeDirectory } from '../../src/make-directory.js';
import { logTreeQueries } from '../history/log-tree.js';

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

/** The leaves of the tree in the history in a file; undefined if it has none. */
export function keptLeaves(path: string): KeptLeaves | undefined {
  const inTree = <T>(work: (tree: ReturnType<typeof logTreeQueries>) => T) =>
    read(path, (db) => [work(logTreeQueries(db))])[0];
  const size = inTree((tree) => tree.size()) ?? 0;
  if (size === 0) return undefined;
  return {
    size,
    positionOf(index) {
      const position = inTree((tree) => tree.positions(Math.floor(index / tileWidth))[index % tileWidth]);
      if (position === undefined) throw new RangeError(`the history ${path} has no leaf ${index}`);
      return position;
    },
    hashAt: (position) =>
      inTree((tree) => {
        const index = tree.indexOf(position);
        if (index === undefined) return undefined;
        const at = (index % tileWidth) * hashLength;
        const hash = tree.tile(0, Math.floor(index / tileWidth)).subarray(at, at + hashLength);
        return hash.length === hashLength ? hash : undefined;
      }),
    lastLasting: (upTo) =>
      read(
        path,
        (db) =>
          db
            .prepare('SELECT max(position) FROM subject_event WHERE position <= ?')
            .pluck()
            .all(upTo) as (Position | null)[],
      )[0] ?? undefined,
    jobAt(position) {
      const uuids = read(path, (db) =>
        db.prepare('SELECT uuid FROM event_place JOIN job_life USING (job) WHERE position = ?').pluck().all(position),
      ) as Buffer[];
      const uuid = uuids[0]?.length === 16 ? uuids[0].toString('hex') : undefined;
      return uuid?.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    },
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
