import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import type { KeptPlace } from '../../src/eventstore/kept-places.js';
import type { Position } from '../../src/eventstore/port.js';

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

/** Moves files of projections, whole, into a directory that is made for them. */
export function setAside(files: readonly KeptFile[], directory: string): void {
  mkdirSync(directory, { recursive: true });
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
