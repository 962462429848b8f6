import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import { StoreUnavailable, StoreUnreadable } from '../port.js';
import { isDamage } from './is-damage.js';
import { columns, type EventRow, eventFromRow } from './rows.js';

/** "MEMO" in ASCII: the SQLite application_id of an event log. */
const applicationId = 0x4d454d4f;

/**
 * The versions of the file format. `dense` is what a server makes: positions without a gap. With `gaps` each row says how many
 * positions are left out before it; an import makes it where it must. `unfinished` is either of them while an import is under way.
 */
const formats = { dense: 1, gaps: 2, unfinished: 3 } as const;

/** What a log is opened for. Only an import opens one that an import has not finished. */
export type Purpose = 'serve' | 'import';

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
export function openLogFile(path: string, purpose: Purpose = 'serve'): Database.Database {
  const fresh = !existsSync(path) || statSync(path).size === 0;
  if (!fresh) {
    refuseForeignFile(path);
    checkUntouched(path, purpose);
  }
  let db: Database.Database | undefined;
  try {
    db = new Database(path);
    const empty = isEmpty(db);
    if (!empty) checkIdentity(db, path, purpose);
    if (db.pragma('journal_mode = WAL', { simple: true }) !== 'wal') {
      throw new StoreUnavailable(`the event log ${quote(path)} is on a file system that cannot hold SQLite's WAL`);
    }
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 4000');
    if (empty) create(db);
    return db;
  } catch (error) {
    db?.close();
    if (isDamage(error)) {
      throw new StoreUnreadable(`the event log ${quote(path)} is damaged: ${(error as Error).message}`, error);
    }
    throw error;
  }
}

/**
 * Opens the log at `path` as nobody has opened it yet, for reading only, so that nothing is changed; undefined if it is an empty file
 * or database.
 * @throws StoreUnreadable if it is something else, or newer than this code
 */
export function openUntouched(path: string): Database.Database | undefined {
  if (statSync(path).size === 0) return undefined;
  refuseForeignFile(path);
  const db = openLogReader(path);
  try {
    if (!isEmpty(db)) {
      checkIdentity(db, path, 'serve');
      return db;
    }
  } catch (error) {
    db.close();
    if (isDamage(error)) {
      throw damaged(path, (error as Error).message);
    }
    throw error;
  }
  db.close();
  return undefined;
}

/** Checks the log through a connection that writes nothing: to close one that may would write the WAL into a file that it spoils. */
function checkUntouched(path: string, purpose: Purpose): void {
  let db: Database.Database | undefined;
  try {
    db = openLogReader(path);
    if (isEmpty(db)) return;
    checkIdentity(db, path, purpose);
    checkContent(db, path);
  } catch (error) {
    if (isDamage(error)) {
      throw damaged(path, (error as Error).message);
    }
    throw error;
  } finally {
    db?.close();
  }
}

/** Opens the event log at `path`, which must have been opened by `openLogFile` before, for reading only. */
export function openLogReader(path: string): Database.Database {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  db.pragma('cache_size = -16000');
  return db;
}

/**
 * Opens the event log at `path` for reading only, while another process may write it.
 * @throws StoreUnreadable if it is no log, damaged or newer, or not whole; StoreUnavailable if it cannot be opened
 */
export function openLogToExport(path: string): Database.Database {
  let db: Database.Database | undefined;
  try {
    refuseForeignFile(path);
    db = openLogReader(path);
    checkIdentity(db, path, 'serve');
    checkCount(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof StoreUnreadable) throw error;
    if (isDamage(error)) {
      throw damaged(path, (error as Error).message);
    }
    throw new StoreUnavailable(`the event log ${quote(path)} cannot be read: ${(error as Error).message}`, error);
  }
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
    db.pragma(`user_version = ${formats.dense}`);
  }).immediate();
}

function checkIdentity(db: Database.Database, path: string, purpose: Purpose): void {
  if (db.pragma('application_id', { simple: true }) !== applicationId) {
    throw new StoreUnreadable(`${quote(path)} is an SQLite file, but no event log of Memoir; it was left as it is`);
  }
  const found = db.pragma('user_version', { simple: true }) as number;
  if (found === formats.unfinished && purpose !== 'import') {
    throw new StoreUnreadable(
      `the event log ${quote(path)} is not whole: an import into it has not ended; import the same file again`,
    );
  }
  if (!Object.values<number>(formats).includes(found)) {
    throw new StoreUnreadable(
      `the event log ${quote(path)} has format ${found}, and this version of Memoir reads formats ${formats.dense} and ` +
        `${formats.gaps}: it was written by a newer version; it was left as it is`,
    );
  }
}

/** Whether the rows of a log say how many positions are left out before them. */
export function hasGaps(db: Database.Database): boolean {
  return db.prepare("SELECT count(*) FROM pragma_table_info('event') WHERE name = 'gap'").pluck().get() === 1;
}

/** Makes the rows of a log say how many positions are left out before them; so far none are. */
export function addGaps(db: Database.Database): void {
  db.exec('ALTER TABLE event ADD COLUMN gap INTEGER NOT NULL DEFAULT 0');
}

/** Sets what the file says of its format. */
export function setFormat(db: Database.Database, format: keyof typeof formats): void {
  db.pragma(`user_version = ${formats[format]}`);
}

function checkContent(db: Database.Database, path: string): void {
  const whole = statSync(path).size <= fullCheckLimit;
  if (whole) {
    const found = db.pragma('integrity_check(1)', { simple: true }) as string;
    if (found !== 'ok') throw damaged(path, found);
  }
  const gap = hasGaps(db) ? 'gap' : '0';
  const rows = db.prepare(`SELECT ${columns}, ${gap} FROM event ORDER BY position DESC LIMIT ?`).raw();
  let next: number | undefined;
  for (const row of rows.iterate(whole ? -1 : tailLength) as IterableIterator<[...EventRow, gap: number]>) {
    const { position } = eventFromRow(path, row);
    if (next !== undefined && position !== next) throw damaged(path, `no event at position ${next}`);
    next = position - 1 - (row.at(-1) as number);
  }
  if (whole && next !== undefined && next !== 0) throw damaged(path, `no event at position ${next}`);
}

/** Without reading them all: whether as many events are there as the last position and the gaps say. */
function checkCount(db: Database.Database, path: string): void {
  const gaps = hasGaps(db) ? 'sum(gap)' : '0';
  const [events, left, end] = db.prepare(`SELECT count(*), ${gaps}, max(position) FROM event`).raw().get() as number[];
  const missing = (end ?? 0) - (left ?? 0) - (events ?? 0);
  if (missing !== 0) throw damaged(path, `${missing} of its events are missing`);
}

function damaged(path: string, found: string): StoreUnreadable {
  return new StoreUnreadable(`the event log ${quote(path)} is damaged: ${found}`);
}
