import Database from 'better-sqlite3';

/**
 * Whether an error of SQLite says that a log is damaged: that it is malformed, or, since whoever asks has found it to be a log of Memoir, that
 * a table or a column of one is not there, as where a byte of the schema's text changed.
 */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Database.SqliteError)) return false;
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) return true;
  return error.code === 'SQLITE_ERROR' && /^no such (table|column|index)\b/.test(error.message);
}
