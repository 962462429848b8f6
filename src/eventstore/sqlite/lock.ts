import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import { StoreUnavailable } from '../port.js';

/**
 * Takes the log at `path` for this process alone, until the returned function is called or the process ends, however it ends.
 * The lock is SQLite's own lock on an empty file beside the log, since Node.js has no file locks.
 * @throws StoreUnavailable if another process, or another store of this one, has it
 */
export function lockLog(path: string): () => void {
  const db = new Database(`${path}.lock`, { timeout: 0 });
  try {
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new StoreUnavailable(
        `the event log ${quote(path)} is in use by another Memoir server; the embedded store belongs to one process, ` +
          'several servers need a KurrentDB store',
        error,
      );
    }
    throw error;
  }
  return () => db.close();
}
