import { type Duration, durationMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import type { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { jobStream } from '../../../src/domain/streams.js';
import type { Position } from '../../../src/eventstore/port.js';
import { millis } from '../../running/millis.js';
import type { Projection } from '../../running/projection.js';

/**
 * How long what jobs left is wanted: one row a job that was not deleted, by the position of its JobRequested. Times are in milliseconds since
 * 1970-01-01T00:00Z. `ttl` is the longest that was asked for before the job ended, and `unasked` whether somebody asked for none; `kept_until`
 * is what was asked for from its end and from answers on, `asked_at` when it ended or was answered with last for somebody who asked for none.
 */
export const retention: Projection = {
  name: 'retention',
  version: 1,
  tables: ['retention'],
  schema: `
    CREATE TABLE retention (
      job INTEGER PRIMARY KEY,
      ttl INTEGER,
      unasked INTEGER NOT NULL,
      kept_until INTEGER,
      asked_at INTEGER,
      ended INTEGER NOT NULL DEFAULT 0,
      pinned_at INTEGER
    ) STRICT;
  `,
  prepare(db, positionOf) {
    const insert = db.prepare('INSERT INTO retention (job, ttl, unasked) VALUES (?, ?, ?)');
    // One statement an answer, since most answers of a busy server come by here.
    const ask = db.prepare(`
      UPDATE retention SET ttl = iif(ended, ttl, max(coalesce(ttl, 0), @ttl)),
        kept_until = iif(ended, max(coalesce(kept_until, 0), @at + @ttl), kept_until) WHERE job = @job`);
    const unasked = db.prepare(`
      UPDATE retention SET unasked = iif(ended, unasked, 1),
        asked_at = iif(ended, max(coalesce(asked_at, 0), @at), asked_at) WHERE job = @job`);
    const end = db.prepare(`
      UPDATE retention SET ended = 1, kept_until = @at + ttl, asked_at = iif(unasked, @at, NULL) WHERE job = @job`);
    const pin = db.prepare('UPDATE retention SET pinned_at = ? WHERE job = ?');
    const remove = db.prepare('DELETE FROM retention WHERE job = ?');
    const wanted = (job: number | null, ttl: Duration | undefined, at: number) => {
      if (ttl) {
        ask.run({ ttl: Math.round(durationMs(ttl)), at, job });
      } else {
        unasked.run({ at, job });
      }
    };
    const ended = (stream: string, at: Timestamp | undefined) => end.run({ job: positionOf(stream), at: millis(at) });
    return {
      JobRequested({ outputTtl }, { position }) {
        insert.run(position, outputTtl ? Math.round(durationMs(outputTtl)) : null, Number(!outputTtl));
      },
      JobJoined: ({ outputTtl, joinedAt }, { stream }) => wanted(positionOf(stream), outputTtl, millis(joinedAt)),
      JobReused: ({ uuid, outputTtl, reusedAt }) => wanted(positionOf(jobStream(uuid)), outputTtl, millis(reusedAt)),
      JobCompleted: ({ completedAt }, { stream }) => void ended(stream, completedAt),
      JobFailed: ({ failedAt }, { stream }) => void ended(stream, failedAt),
      JobCancelled: ({ cancelledAt }, { stream }) => void ended(stream, cancelledAt),
      JobDeleted: (_event, { stream }) => void remove.run(positionOf(stream)),
      JobPinned: ({ uuid, pinnedAt }) => void pin.run(millis(pinnedAt), positionOf(jobStream(uuid))),
      JobUnpinned: ({ uuid }) => void pin.run(null, positionOf(jobStream(uuid))),
    };
  },
};

/** A job as retention looks at it. */
export type RetainedRow = {
  /** Position of its JobRequested. */
  readonly position: Position;
  readonly owner: string;
  readonly state: JobState;
  readonly output: string;
  readonly log: string;
  /** JSON. */
  readonly script_parameters: string;
  readonly attempt_count: number;
  readonly kept_until: number | null;
  readonly asked_at: number | null;
  readonly ended: number;
  readonly pinned_at: number | null;
};

/** How long what a job left is wanted, in milliseconds and milliseconds since 1970-01-01T00:00Z. */
export type WantedRow = {
  readonly ttl: number | null;
  readonly kept_until: number | null;
  readonly pinned_at: number | null;
};

/** Reads of how long what jobs left is wanted. */
export function retentionQueries(db: Database.Database) {
  const page = db.prepare(`
    SELECT job.position, job.owner, job.state, job.output, job.log, job.script_parameters, job.attempt_count,
      kept.kept_until, kept.asked_at, kept.ended, kept.pinned_at
    FROM retention AS kept JOIN job ON job.position = kept.job WHERE kept.job > ? ORDER BY kept.job LIMIT ?`);
  const attempts = db.prepare("SELECT log, output FROM attempt WHERE job = ? AND (log <> '' OR output <> '')");
  const pinned = db.prepare('SELECT pinned_at FROM retention WHERE job = ?').pluck();
  const wanted = db.prepare('SELECT ttl, kept_until, pinned_at FROM retention WHERE job = ?');
  return {
    /** Up to `limit` jobs that were not deleted, behind one at a position, oldest first. */
    page: (after: Position, limit: number) => page.all(after, limit) as RetainedRow[],
    /** What attempts of a job left that ended before it. */
    attempts: (job: Position) => attempts.all(job) as { readonly log: string; readonly output: string }[],
    /** How long what a job left is wanted; undefined if the job was deleted. */
    wanted: (job: Position) => wanted.get(job) as WantedRow | undefined,
    /** Since when a job is pinned; undefined if it is not. */
    pinnedAt: (job: Position) => (pinned.get(job) as number | null | undefined) ?? undefined,
  };
}
