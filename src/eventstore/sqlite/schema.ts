import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import { StoreUnavailable, StoreUnreadable } from '../port.js';
import { columns, type EventRow, eventFromRow } from './rows.js';

/** "MEMO" in ASCII: the SQLite application_id of an event log. */
const applicationId = 0x4d454d4f;

/** The version of the file format that this code writes, and the newest that it reads. */
const format = 1;

/**
 * Up to this many bytes the whole file is checked at opening, which takes about a second for each 100 MiB; of a larger one only
 * the tail, and every event when it is read.
 */
const fullCheckLimit = 256 * 1024 ** 2;

/** How many events at the end of a large log are checked at opening. */
const tailLength = 1_000;

const magic = 'SQLite format 3\u0000';

/**
 * Opens the event log at `path` for reading and writing, and creates it if there is none.
 * @throws StoreUnreadable naming the file if it is something else, damaged, or newer than this code
 */
export function openLogFile(path: string): Database.Database {
  const fresh = !existsSync(path) || statSync(path).size === 0;
  if (!fresh) refuseForeignFile(path);
  let db: Database.Database | undefined;
  try {
    db = new Database(path);
    const empty = isEmpty(db);
    if (!empty) checkIdentity(db, path);
    if (db.pragma('journal_mode = WAL', { simple: true }) !== 'wal') {
      throw new StoreUnavailable(`the event log ${quote(path)} is on a file system that cannot hold SQLite's WAL`);
    }
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 4000');
    if (empty) create(db);
    else checkContent(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) {
      throw new StoreUnreadable(`the event log ${quote(path)} is damaged: ${error.message}`, error);
    }
    throw error;
  }
}

/** Opens the event log at `path`, which must have been opened by `openLogFile` before, for reading only. */
export function openLogReader(path: string): Database.Database {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  db.pragma('cache_size = -16000');
  return db;
}

function refuseForeignFile(path: string): void {
  const head = Buffer.alloc(magic.length);
  const file = openSync(path, 'r');
  try {
    const length = readSync(file, head, 0, head.length, 0);
    if (length < magic.length || head.toString('latin1') !== magic) {
      throw new StoreUnreadable(
        `${quote(path)} is no event log of Memoir, or its head is damaged; it was left as it is`,
      );
    }
  } finally {
    closeSync(file);
  }
}

function isEmpty(db: Database.Database): boolean {
  return (
    db.pragma('application_id', { simple: true }) === 0 &&
    db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0
  );
}

function create(db: Database.Database): void {
  db.transaction(() => {
    db.exec(`
      CREATE TABLE event (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        revision INTEGER NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        data TEXT NOT NULL,
        metadata TEXT NOT NULL,
        recorded_at INTEGER NOT NULL,
        checksum INTEGER NOT NULL
      ) STRICT;
      CREATE UNIQUE INDEX event_stream ON event (stream, revision);
    `);
    db.pragma(`application_id = ${applicationId}`);
    db.pragma(`user_version = ${format}`);
  }).immediate();
}

function checkIdentity(db: Database.Database, path: string): void {
  if (db.pragma('application_id', { simple: true }) !== applicationId) {
    throw new StoreUnreadable(`${quote(path)} is an SQLite file, but no event log of Memoir; it was left as it is`);
  }
  const found = db.pragma('user_version', { simple: true }) as number;
  if (found !== format) {
    throw new StoreUnreadable(
      `the event log ${quote(path)} has format ${found}, and this version of Memoir reads format ${format}: ` +
        'it was written by a newer version; it was left as it is',
    );
  }
}

function checkContent(db: Database.Database, path: string): void {
  const whole = statSync(path).size <= fullCheckLimit;
  if (whole) {
    const found = db.pragma('integrity_check(1)', { simple: true }) as string;
    if (found !== 'ok') throw damaged(path, found);
  }
  const rows = db.prepare(`SELECT ${columns} FROM event ORDER BY position DESC LIMIT ?`).raw();
  let next: number | undefined;
  for (const row of rows.iterate(whole ? -1 : tailLength) as IterableIterator<EventRow>) {
    const { position } = eventFromRow(path, row);
    if (next !== undefined && position !== next) throw damaged(path, `no event at position ${next}`);
    next = position - 1;
  }
  if (whole && next !== undefined && next !== 0) throw damaged(path, `no event at position ${next}`);
}

function damaged(path: string, found: string): StoreUnreadable {
  return new StoreUnreadable(`the event log ${quote(path)} is damaged: ${found}`);
}
