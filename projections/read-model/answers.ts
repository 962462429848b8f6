import type Database from 'better-sqlite3';
import { jobStream } from '../../src/domain/streams.js';
import { findJob } from '../running/job-position.js';
import type { Projection } from '../running/projection.js';

/**
 * Who was answered with a job that was there before, by reuse or by joining it: one row for each principal, job and labels of its requests, the
 * first one's. `job` is the position of the JobRequested, `created_at` when that was, in milliseconds since 1970-01-01T00:00Z, `position` that of the
 * answer, `labels` JSON, empty for none; `first` is 1 in one row of each principal and job.
 */
export const answers: Projection = {
  name: 'answers',
  version: 2,
  tables: ['answered'],
  schema: `
    CREATE TABLE answered (
      principal TEXT NOT NULL,
      job INTEGER NOT NULL,
      labels TEXT NOT NULL,
      position INTEGER NOT NULL,
      created_at INTEGER NOT NULL,
      first INTEGER NOT NULL,
      PRIMARY KEY (principal, job, labels)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answered_job ON answered (job, principal);
    CREATE INDEX answered_created ON answered (principal, created_at, job) WHERE first = 1;
  `,
  prepare(db, positionOf) {
    const known = db.prepare('SELECT 1 FROM answered WHERE principal = ? AND job = ? AND labels = ?').pluck();
    // Rows of jobs keep what is read here as long as there are any.
    const insert = db.prepare(`
      INSERT INTO answered (principal, job, labels, position, created_at, first)
      SELECT @principal, @job, @labels, @position, created_at,
        NOT EXISTS (SELECT 1 FROM answered WHERE principal = @principal AND job = @job)
      FROM job WHERE position = @job`);
    const answer = (principal: string, uuid: string, labels: Readonly<Record<string, string>>, position: number) => {
      const job = positionOf(jobStream(uuid));
      if (job === null) return;
      const text = Object.keys(labels).length === 0 ? '' : JSON.stringify(labels);
      if (known.get(principal, job, text) === undefined) insert.run({ principal, job, labels: text, position });
    };
    return {
      JobReused: (event, { position }) => answer(event.requestedBy, event.uuid, event.labels, position),
      JobJoined: (event, { position }) => answer(event.principal, event.uuid, event.labels, position),
    };
  },
};

/** Reads of who was answered. */
export function answerQueries(db: Database.Database) {
  const ofJob = `(${findJob})`;
  const was = db.prepare(`SELECT 1 FROM answered WHERE job = ${ofJob} AND principal = @principal LIMIT 1`).pluck();
  const others = db.prepare(`SELECT 1 FROM answered WHERE job = ${ofJob} AND principal <> @principal LIMIT 1`).pluck();
  return {
    /** Whether a principal was answered with a job that was there before. */
    wasAnswered: (principal: string, uuid: string) => was.get({ principal, uuid }) !== undefined,
    /** Whether any other principal was. */
    othersWere: (principal: string, uuid: string) => others.get({ principal, uuid }) !== undefined,
  };
}
