import { durationMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import type { Projection } from '../running/projection.js';

/** One row a job that is queued again and given to nobody for some time: for how long, and the revision of the event that says so. */
export const backOffs: Projection = {
  name: 'back-offs',
  version: 1,
  tables: ['back_off'],
  schema: `
    CREATE TABLE back_off (uuid TEXT PRIMARY KEY, ms INTEGER NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  `,
  prepare(db) {
    const insert = db.prepare('INSERT OR REPLACE INTO back_off (uuid, ms, revision) VALUES (?, ?, ?)');
    const remove = db.prepare('DELETE FROM back_off WHERE uuid = ?');
    const over = (_event: unknown, { stream }: { readonly stream: string }) => void remove.run(uuidOfJobStream(stream));
    return {
      JobAttemptEnded({ backOff }, { stream, revision }) {
        const ms = backOff ? Math.ceil(durationMs(backOff)) : 0;
        if (ms > 0) insert.run(uuidOfJobStream(stream), ms, revision);
      },
      JobStarted: over,
      JobResumed: over,
      JobCancelled: over,
    };
  },
};

/** A job that backs off. */
export type BackOffRow = { readonly uuid: string; readonly ms: number; readonly revision: number };

/** Reads of the jobs that back off. */
export function backOffQueries(db: Database.Database) {
  const all = db.prepare('SELECT uuid, ms, revision FROM back_off');
  return {
    /** All of them. */
    all: () => all.all() as BackOffRow[],
  };
}
