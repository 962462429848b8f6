import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { EventLog, Position } from '../../src/eventstore/port.js';
import { start } from '../../src/eventstore/port.js';
import type { Projection } from './projection.js';

/** How far a projection has come: the last event it saw. */
export type Checkpoint = { readonly position: Position; readonly eventId: string };

const beginning: Checkpoint = { position: start, eventId: '' };

/** Up to this many bytes the file is checked at opening, which takes about half a second. */
const checkLimit = 256 * 1024 ** 2;

/**
 * Opens the read model's file for writing and makes the tables of every projection that is new or was raised to another
 * version. A file that is damaged is made anew: it holds nothing that the log does not.
 */
export function openReadModelFile(path: string, projections: readonly Projection[]): Database.Database {
  try {
    return prepareFile(path, projections);
  } catch (error) {
    if (!isDamage(error)) throw error;
    removeReadModelFile(path);
    return prepareFile(path, projections);
  }
}

/** Whether an error says that the file is damaged or no database, rather than that it cannot be used now. */
export function isDamage(error: unknown): boolean {
  return error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code);
}

/** Removes the read model's file, so that the next opening makes it anew. */
export function removeReadModelFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
}

/**
 * Opens a file whose pages are known to be sound, or a new one, as `openReadModelFile` does. Its write-ahead log is left for
 * `keepPageSums` to copy.
 * @throws SqliteError if it is damaged all the same
 */
export function openSoundFile(path: string, projections: readonly Projection[]): Database.Database {
  return prepareFile(path, projections, true);
}

function prepareFile(path: string, projections: readonly Projection[], sound = false): Database.Database {
  const db = new Database(path);
  try {
    if (!sound) refuseDamage(db);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    db.pragma('cache_size = -32768');
    db.pragma(`wal_autocheckpoint = ${sound ? 0 : 4_000}`);
    db.exec(`CREATE TABLE IF NOT EXISTS projection (
      name TEXT PRIMARY KEY, version INTEGER NOT NULL, tables TEXT NOT NULL, position INTEGER NOT NULL, event_id TEXT NOT NULL
    ) STRICT`);
    for (const projection of projections) prepareTables(db, projection);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function refuseDamage(db: Database.Database): void {
  const number = (pragma: string) => db.pragma(pragma, { simple: true }) as number;
  if (number('page_count') * number('page_size') > checkLimit) return;
  const found = db.pragma('quick_check(1)', { simple: true }) as string;
  if (found !== 'ok') throw new Database.SqliteError(found, 'SQLITE_CORRUPT');
}

function prepareTables(db: Database.Database, projection: Projection): void {
  const version = db.prepare('SELECT version FROM projection WHERE name = ?').pluck().get(projection.name);
  if (version !== projection.version) resetProjection(db, projection);
}

/** Empties a projection, so that it is rebuilt from the beginning of the log. */
export function resetProjection(db: Database.Database, projection: Projection): void {
  db.transaction(() => {
    const old = db.prepare('SELECT tables FROM projection WHERE name = ?').pluck().get(projection.name) as
      | string
      | undefined;
    const tables = new Set([...(old ? (JSON.parse(old) as string[]) : []), ...projection.tables]);
    for (const table of tables) db.exec(`DROP TABLE IF EXISTS "${table}"`);
    db.exec(projection.schema);
    db.prepare(
      `INSERT INTO projection (name, version, tables, position, event_id) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET version = excluded.version, tables = excluded.tables, position = excluded.position,
         event_id = excluded.event_id`,
    ).run(
      projection.name,
      projection.version,
      JSON.stringify(projection.tables),
      beginning.position,
      beginning.eventId,
    );
  }).immediate();
}

/** How far a projection has come. */
export function readCheckpoint(db: Database.Database, projection: Projection): Checkpoint {
  const row = db.prepare('SELECT position, event_id AS eventId FROM projection WHERE name = ?').get(projection.name);
  return (row as Checkpoint | undefined) ?? beginning;
}

/** Whether the checkpoint is of this log: the event that it names stands where it says. */
export async function isOfLog(log: EventLog, { position, eventId }: Checkpoint): Promise<boolean> {
  if (position === start) return true;
  return (await log.eventAt(position))?.id === eventId;
}

/** All rows of the projections' tables as lines of JSON in a fixed order, for comparing one read model with another. */
export function* dumpReadModel(db: Database.Database, projections: readonly Projection[]): Generator<string> {
  for (const { name, tables } of projections) {
    for (const table of tables) {
      const columns = (db.pragma(`table_info("${table}")`) as { name: string }[]).map((column) => `"${column.name}"`);
      const rows = db
        .prepare(`SELECT ${columns.join(', ')} FROM "${table}" ORDER BY ${columns.join(', ')}`)
        .raw()
        .iterate();
      for (const row of rows) yield JSON.stringify([name, table, row]);
    }
  }
}
