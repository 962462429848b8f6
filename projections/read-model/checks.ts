import type Database from 'better-sqlite3';
import type { Projection } from '../running/projection.js';

/**
 * One row a job that runs another again to compare what both give. `job` is the position of its JobRequested, `completed` that of its
 * JobCompleted, NULL unless it is complete.
 */
export const checks: Projection = {
  name: 'checks',
  version: 1,
  tables: ['check_run'],
  schema: `
    CREATE TABLE check_run (
      job INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      check_of TEXT NOT NULL,
      run_number INTEGER NOT NULL,
      output TEXT NOT NULL DEFAULT '',
      output_v1 TEXT NOT NULL DEFAULT '',
      completed INTEGER
    ) STRICT;
    CREATE INDEX check_of_job ON check_run (check_of, job);
    CREATE INDEX check_completed ON check_run (completed) WHERE completed IS NOT NULL;
  `,
  prepare(db, positionOf) {
    const insert = db.prepare('INSERT INTO check_run (job, uuid, check_of, run_number) VALUES (?, ?, ?, ?)');
    const complete = db.prepare('UPDATE check_run SET output = ?, output_v1 = ?, completed = ? WHERE job = ?');
    return {
      JobRequested({ uuid, checkOf, runNumber }, { position }) {
        if (checkOf !== '') insert.run(position, uuid, checkOf, runNumber);
      },
      JobCompleted({ output, outputV1 }, { stream, position }) {
        complete.run(output, outputV1, position, positionOf(stream));
      },
    };
  },
};

/** A second run that is complete. */
export type CompletedCheck = {
  readonly uuid: string;
  readonly checkOf: string;
  readonly runNumber: number;
  readonly output: string;
  readonly outputV1: string;
  /** Position of its JobCompleted. */
  readonly completed: number;
};

/** Reads of second runs. */
export function checkQueries(db: Database.Database) {
  const ofJob = db.prepare('SELECT uuid FROM check_run WHERE check_of = ? ORDER BY job DESC LIMIT ?').pluck();
  const completed = db.prepare(`
    SELECT uuid, check_of AS checkOf, run_number AS runNumber, output, output_v1 AS outputV1, completed FROM check_run
    WHERE completed > ? ORDER BY completed LIMIT ?`);
  return {
    /** Uuids of up to `limit` second runs of a job, the newest first. */
    of: (uuid: string, limit: number) => ofJob.all(uuid, limit) as string[],
    /** Up to `limit` that completed after a position of the log, in the order of that. */
    completedAfter: (position: number, limit: number) => completed.all(position, limit) as CompletedCheck[],
  };
}
