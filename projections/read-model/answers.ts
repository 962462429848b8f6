import type Database from 'better-sqlite3';
import { jobStream } from '../../src/domain/streams.js';
import { findJob } from '../running/job-position.js';
import type { Projection } from '../running/projection.js';

/**
 * Who was answered with a job that was there before, by reuse or by joining it: one row for each principal, job and labels of its requests, the
 * first one's. `job` is the position of the JobRequested, `position` that of the answer, `labels` JSON, empty for none.
 */
export const answers: Projection = {
  name: 'answers',
  version: 1,
  tables: ['answered'],
  schema: `
    CREATE TABLE answered (
      principal TEXT NOT NULL,
      job INTEGER NOT NULL,
      labels TEXT NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (principal, job, labels)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answered_job ON answered (job, principal);
  `,
  prepare(db, positionOf) {
    const insert = db.prepare('INSERT OR IGNORE INTO answered (principal, job, labels, position) VALUES (?, ?, ?, ?)');
    const answer = (principal: string, uuid: string, labels: Readonly<Record<string, string>>, position: number) => {
      const job = positionOf(jobStream(uuid));
      if (job !== null)
        insert.run(principal, job, Object.keys(labels).length === 0 ? '' : JSON.stringify(labels), position);
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
