import Database from 'better-sqlite3';
import { type LeafPage, type LeafPageBuilder, leafPageBuilder } from '../../domain/log-tree/leaf-page.js';
import { checksum } from './checksum.js';
import { columns } from './rows.js';
import { openLogReader } from './schema.js';

/** Reads a log as leaves, whatever is wrong with single rows. */
export type LeafReader = {
  /** The events after position `after` up to position `to`. */
  read(after: number, to: number): LeafPage;
  close(): void;
};

/** Opens the log at `path`, which another process may be writing. */
export function openLeafReader(path: string): LeafReader {
  const db = openLogReader(path);
  const range = db.prepare(`SELECT ${columns} FROM event WHERE position > ? AND position <= ? ORDER BY position`).raw();
  const one = db.prepare(`SELECT ${columns} FROM event WHERE position = ?`).raw();

  function readOneByOne(after: number, to: number): LeafPage {
    const builder = leafPageBuilder(to - after);
    for (let position = after + 1; position <= to; position++) {
      try {
        const row = one.get(position) as unknown[] | undefined;
        if (row) addRow(builder, row);
      } catch (error) {
        if (!isDamage(error)) throw error;
        builder.addUnreadable(position);
      }
    }
    return builder.page();
  }

  return {
    read(after, to) {
      try {
        const builder = leafPageBuilder(to - after);
        for (const row of range.iterate(after, to) as IterableIterator<unknown[]>) addRow(builder, row);
        return builder.page();
      } catch (error) {
        if (!isDamage(error)) throw error;
        return readOneByOne(after, to);
      }
    },
    close: () => db.close(),
  };
}

/** Whether SQLite says that the file is damaged, rather than that it cannot be read now. */
export function isDamage(error: unknown): boolean {
  return error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code);
}

function addRow(builder: LeafPageBuilder, row: readonly unknown[]): void {
  const [position, stream, revision, id, type, data, metadata, recordedAt, written] = row;
  // In a file that was written by other means, a column may hold a value of any type.
  if (
    typeof stream !== 'string' ||
    typeof id !== 'string' ||
    typeof type !== 'string' ||
    typeof data !== 'string' ||
    typeof metadata !== 'string' ||
    typeof position !== 'number' ||
    typeof revision !== 'number' ||
    typeof recordedAt !== 'number'
  ) {
    builder.addUnreadable(Number(position));
    return;
  }
  const event = { position, stream, revision, id, type, data, metadata, recordedAt };
  builder.add(event, checksum(event) === written ? undefined : 'checksum');
}
