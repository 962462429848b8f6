import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import { type Position, type RecordedEvent, start } from '../port.js';
import { BadLine } from './format.js';

/** Whether events stand in the order of a log. */
export type LogOrder = {
  /** Takes the next event. @throws BadLine if it cannot follow those before it */
  check(event: Pick<RecordedEvent, 'position' | 'stream' | 'revision'>): void;
  close(): void;
};

/**
 * Checks that positions ascend and that the events of each stream are numbered from 0 without a gap; in live logs, of which a
 * cluster may let the older events expire, they need only ascend unless `nothingExpired`.
 *
 * The last revisions are kept in a temporary database on disk, whose cache is bounded, because a log has as many streams as jobs.
 */
export function logOrder(nothingExpired = false): LogOrder {
  // SQLite removes the file of a database without a name when it is closed, and when the process ends.
  const db = new Database('');
  db.pragma('journal_mode = OFF');
  db.pragma('synchronous = OFF');
  db.pragma('cache_size = -32000');
  db.exec('CREATE TABLE stream (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID');
  const first = db.prepare('INSERT OR IGNORE INTO stream (revision, name) VALUES (?, ?)');
  const next = db.prepare('UPDATE stream SET revision = revision + 1 WHERE name = ? AND revision + 1 = ?');
  const later = db.prepare('UPDATE stream SET revision = ? WHERE name = ? AND revision < ?');
  const last = db.prepare('SELECT revision FROM stream WHERE name = ?').pluck();
  db.exec('BEGIN');
  let position: Position = start;

  function follows(stream: string, revision: number): boolean {
    if (!nothingExpired && stream.startsWith(expiring)) {
      return later.run(revision, stream, revision).changes > 0 || first.run(revision, stream).changes > 0;
    }
    return (revision === 0 ? first.run(0, stream) : next.run(stream, revision)).changes > 0;
  }

  return {
    check({ position: at, stream, revision }) {
      if (at <= position) throw new BadLine(`position ${at} does not follow ${position}`);
      if (!follows(stream, revision)) {
        const before = (last.get(stream) as number | undefined) ?? 'none';
        throw new BadLine(`revision ${revision} of stream ${quote(stream)} does not follow ${before}`);
      }
      position = at;
    },
    close: () => db.close(),
  };
}

/** What the names of streams begin with whose events may expire (docs/kurrentdb.md). */
const expiring = 'joblog-';
