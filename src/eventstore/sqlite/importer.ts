import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import type { LogImporter } from '../importer.js';
import { type RecordedEvent, StoreUnavailable } from '../port.js';
import { checksum } from './checksum.js';
import { claimFile } from './claim-file.js';
import { lockLog } from './lock.js';
import { openReader } from './reader.js';
import { columns } from './rows.js';
import { addGaps, hasGaps, openLogFile, setFormat } from './schema.js';

/**
 * Opens the embedded store at `path` to take a log, in this process alone. Positions and times are kept. Where positions are left
 * out, as those of a cluster are, each row says how many before it are, so that a row that is lost is missed nevertheless.
 * @throws StoreUnreadable if the file is no log, damaged or newer; StoreUnavailable if a server has it or it cannot be written
 */
export function openSqliteImporter(path: string): LogImporter {
  const file = claimFile(path);
  const unlock = lockLog(file);
  try {
    return importerOf(file, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

function importerOf(path: string, unlock: () => void): LogImporter {
  const db = openLogFile(path, 'import');
  // Streams are named by random identifiers, so that their index grows at all places at once.
  db.pragma('cache_size = -64000');
  const log = openReader(path);
  let last = (db.prepare('SELECT max(position) FROM event').pluck().get() as number | null) ?? 0;
  let begun = false;

  const record = db.transaction((events: readonly RecordedEvent[]) => {
    if (!begun) setFormat(db, 'unfinished');
    let insert = inserter(db);
    let before = last;
    for (const event of events) {
      const gap = event.position - before - 1;
      if (gap > 0 && !insert.gaps) {
        addGaps(db);
        insert = inserter(db);
      }
      insert.row(event, gap);
      before = event.position;
    }
    return before;
  });

  return {
    log,
    keepsPositions: true,
    check: () => undefined,
    async record(events) {
      last = writable(path, () => record.immediate(events));
      begun = true;
    },
    async finish() {
      writable(path, () => {
        setFormat(db, hasGaps(db) ? 'gaps' : 'dense');
        db.pragma('wal_checkpoint(TRUNCATE)');
      });
    },
    async close() {
      await log.close();
      db.close();
      unlock();
    },
  };
}

function inserter(db: Database.Database) {
  const gaps = hasGaps(db);
  const names = gaps ? `${columns}, gap` : columns;
  const insert = db.prepare(`INSERT INTO event (${names}) VALUES (${names.replaceAll(/\w+/g, '?')})`);
  return {
    gaps,
    row(event: RecordedEvent, gap: number): void {
      const { position, stream, revision, id, type, data, metadata, recordedAt } = event;
      const row = [position, stream, revision, id, type, data, metadata, recordedAt, checksum(event)];
      insert.run(gaps ? [...row, gap] : row);
    },
  };
}

function writable<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new StoreUnavailable(`the event log ${quote(path)} cannot be written: ${error.message}`, error);
  }
}
