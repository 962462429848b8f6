import { isDamage } from './leaf-reader.js';
import { openLogReader } from './schema.js';

/** A log in which single rows may be damaged. */
export type UncheckedLog = {
  /** Position of the last event that a safe integer can name; 0 if there is none. */
  end(): number;
  /** The row at a position, as far as it can be read; undefined if there is none or it cannot. */
  eventAt(position: number): { readonly stream: string; readonly revision: number; readonly type: string } | undefined;
  /** Whether positions follow each other without gaps: they do unless rows say how many are left out before them. */
  readonly dense: boolean;
  /** Rows that are at no position of the log, where readers of the whole log never come, as lines of text. */
  strays(): readonly string[];
  /** What SQLite finds wrong with the file's structure and its indexes, as lines of text; takes about a second for each 100 MiB. */
  integrity(): readonly string[];
  close(): void;
};

/** Most lines of `integrity`. */
const mostLines = 100;

/** Opens the log at `path`, which another process may be writing. Throws if it is no log that can be read at all. */
export function openUncheckedLog(path: string): UncheckedLog {
  const db = openLogReader(path);
  try {
    const end = db.prepare('SELECT max(position) FROM event WHERE position <= ?').pluck();
    const at = db.prepare('SELECT stream, revision, type FROM event WHERE position = ?');
    const below = db.prepare('SELECT position, stream, revision FROM event WHERE position < 1 LIMIT 10').raw();
    const above = db
      .prepare('SELECT position, stream, revision FROM event WHERE position > ? LIMIT 10')
      .raw()
      .safeIntegers();
    const gaps = db.prepare("SELECT count(*) FROM pragma_table_info('event') WHERE name = 'gap'").pluck().get();
    return {
      dense: gaps === 0,
      end() {
        try {
          return (end.get(Number.MAX_SAFE_INTEGER) as number | null) ?? 0;
        } catch (error) {
          if (!isDamage(error)) throw error;
          // Where the last page is damaged, the index still has the positions.
          const byIndex = db.prepare('SELECT max(position) FROM event INDEXED BY event_stream WHERE position <= ?');
          return (byIndex.pluck().get(Number.MAX_SAFE_INTEGER) as number | null) ?? 0;
        }
      },
      eventAt(position) {
        try {
          const row = at.get(position) as { stream: unknown; revision: unknown; type: unknown } | undefined;
          return row && { stream: String(row.stream), revision: Number(row.revision), type: String(row.type) };
        } catch {
          return undefined;
        }
      },
      strays() {
        const rows = [...readable(() => below.all()), ...readable(() => above.all(Number.MAX_SAFE_INTEGER))];
        return rows.map(
          ([position, stream, revision]) => `a row at position ${position}: event ${revision} of stream ${stream}`,
        );
      },
      integrity() {
        const lines = db.pragma(`integrity_check(${mostLines})`) as { readonly integrity_check: string }[];
        return lines.map((line) => line.integrity_check).filter((line) => line !== 'ok');
      },
      close: () => db.close(),
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The rows; none where a page that has them is damaged, which shows when the log is read. */
function readable(rows: () => unknown[]): [position: unknown, stream: unknown, revision: unknown][] {
  try {
    return rows() as [unknown, unknown, unknown][];
  } catch (error) {
    if (!isDamage(error)) throw error;
    return [];
  }
}
