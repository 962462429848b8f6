import type Database from 'better-sqlite3';
import { jobStream, uuidOfJobStream } from '../../src/domain/streams.js';
import type { Projection } from '../running/projection.js';

/** Type of the mark by which KurrentDB says in the log that a stream was deleted for good. */
const mark = '$streamDeleted';

/** One row a job whose stream was deleted for good in the store. */
export const tombstones: Projection = {
  name: 'tombstones',
  version: 1,
  tables: ['tombstone'],
  schema: 'CREATE TABLE tombstone (uuid TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;',
  prepareBatch(db) {
    const insert = db.prepare('INSERT OR IGNORE INTO tombstone (uuid) VALUES (?)');
    return (events) => {
      for (const { type, stream } of events) {
        if (type === mark && stream.startsWith(jobStream(''))) insert.run(uuidOfJobStream(stream));
      }
    };
  },
};

/** Reads of them. */
export function tombstoneQueries(db: Database.Database) {
  const find = db.prepare('SELECT 1 FROM tombstone WHERE uuid = ?').pluck();
  return {
    /** Whether the stream of a job was deleted for good, as far as the log was read. */
    has: (uuid: string) => find.get(uuid) !== undefined,
  };
}
