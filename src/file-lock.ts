import Database from 'better-sqlite3';

/**
 * Takes the file at `path`, made if there is none, for this process alone, until the returned function is called or the process ends,
 * however it ends. Undefined if another process has it. The lock is SQLite's own lock on an empty file, since Node.js has no file
 * locks; the file stays, since a lock whose file is removed could be held twice.
 * @throws Error if the file cannot be made or locked
 */
export function tryLock(path: string): (() => void) | undefined {
  let db: Database.Database | undefined;
  try {
    const opened = new Database(path, { timeout: 0 });
    db = opened;
    opened.exec('BEGIN EXCLUSIVE');
    return () => opened.close();
  } catch (error) {
    db?.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return undefined;
    throw error;
  }
}
