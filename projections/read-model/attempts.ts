import { create, fromJson, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import type { JobAttemptEnded, JobFailed, JobResumed, JobStarted } from '../../gen/memoir/events/v1/events_pb.js';
import { type Attempt, AttemptSchema, type Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type Ran, RanSchema } from '../../gen/memoir/jobs/v1/ran_pb.js';
import { keptDigests, keptSize } from '../../src/domain/outputs/digest.js';
import { millis } from '../running/millis.js';

/**
 * SQL that makes the table of the attempts, in the file and beside the table `job`: one row each, by the position of the job. How the attempt
 * ended that finished its job stands in the row of the job alone, but for whose fault it was and, if the job failed, what it had made until then.
 */
export const attemptTable = `
    CREATE TABLE attempt (
      job INTEGER NOT NULL,
      number INTEGER NOT NULL,
      worker TEXT NOT NULL,
      worker_name TEXT NOT NULL,
      started_at INTEGER NOT NULL,
      ended_at INTEGER,
      fault INTEGER NOT NULL DEFAULT 0,
      reason TEXT NOT NULL DEFAULT '',
      message TEXT NOT NULL DEFAULT '',
      log TEXT NOT NULL DEFAULT '',
      output TEXT NOT NULL DEFAULT '',
      log_size INTEGER,
      output_size INTEGER,
      ran TEXT,
      PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;`;

/** Writes attempts, as part of the projection of the jobs. */
export function attemptWriter(db: Database.Database) {
  const begin = db.prepare(`
    INSERT OR REPLACE INTO attempt (job, number, worker, worker_name, started_at) VALUES (?, ?, ?, ?, ?)`);
  const end = db.prepare(`
    UPDATE attempt SET ended_at = ?, fault = ?, reason = ?, message = ?, log = ?, output = ?, log_size = ?,
      output_size = ?, ran = ? WHERE job = ? AND number = ?`);
  const goOn = db.prepare(`
    UPDATE attempt SET ended_at = NULL, fault = 0, reason = '', message = '', log = '', output = '', log_size = NULL,
      output_size = NULL, ran = NULL
    WHERE job = ? AND number = ?`);
  const fail = db.prepare('UPDATE attempt SET fault = ?, output = ?, output_size = ? WHERE job = ? AND number = ?');
  return {
    started(job: number | null, event: JobStarted): void {
      if (job !== null) {
        begin.run(job, event.attempt || 1, event.worker, event.workerName, millis(event.startedAt));
      }
    },
    ended(job: number | null, event: JobAttemptEnded): void {
      const { endedAt, fault, reason, message, log, output } = event;
      const sizes = [keptSize(event.logDigest), keptSize(event.outputDigest)];
      end.run(
        millis(endedAt),
        fault,
        reason,
        message,
        log,
        output,
        ...sizes,
        ranText(event.ran),
        job,
        event.attempt || 1,
      );
    },
    resumed: (job: number | null, event: JobResumed) => void goOn.run(job, event.attempt || 1),
    failed(job: number | null, { fault, output, outputDigest, attempt }: JobFailed): void {
      if (fault !== 0) fail.run(fault, output, keptSize(outputDigest), job, attempt || 1);
    },
  };
}

/** What an attempt ran in and took as a column keeps it: ProtoJSON, null for nothing. */
export function ranText(ran: Ran | undefined): string | null {
  return ran ? JSON.stringify(toJson(RanSchema, ran)) : null;
}

/** What such a text tells. */
export function ranOfText(text: string): Ran {
  return fromJson(RanSchema, JSON.parse(text));
}

type AttemptRow = {
  readonly number: number;
  readonly worker: string;
  readonly worker_name: string;
  readonly started_at: number;
  readonly ended_at: number | null;
  readonly fault: Fault;
  readonly reason: string;
  readonly message: string;
  readonly log: string;
  readonly output: string;
  readonly log_size: number | null;
  readonly output_size: number | null;
  readonly ran: string | null;
};

/** What of the row of a job tells how its last attempt ended. */
type FinishedRow = {
  readonly position: number;
  readonly state: JobState;
  readonly claimed_by: string;
  readonly finished_at: number | null;
  readonly cancelled_at: number | null;
  readonly failure_reason: string;
  readonly failure_message: string;
  readonly log: string;
  readonly output: string;
  readonly log_size: number | null;
  readonly output_size: number | null;
  readonly ran: string | null;
};

/** Reads of the attempts. */
export function attemptQueries(db: Database.Database) {
  const ofJob = db.prepare('SELECT * FROM attempt WHERE job = ? ORDER BY number');
  /** The attempts of a job, of which the row is given, the first one first. */
  return function attemptsOf(job: FinishedRow): Attempt[] {
    const rows = ofJob.all(job.position) as AttemptRow[];
    return rows.map((row, i) => messageOf(i === rows.length - 1 ? withFinish(row, job) : row));
  };
}

/** The last attempt of a job, which may have finished with it: then the job is still claimed. */
function withFinish(row: AttemptRow, job: FinishedRow): AttemptRow {
  if (row.ended_at !== null || job.claimed_by === '') return row;
  switch (job.state) {
    case JobState.COMPLETE:
      return { ...row, ended_at: job.finished_at, ...resultOf(job) };
    case JobState.FAILED: {
      const { finished_at, failure_reason: reason, failure_message: message, log, log_size, ran } = job;
      return { ...row, ended_at: finished_at, reason, message, log, log_size, ran };
    }
    case JobState.CANCELLED:
      return { ...row, ended_at: job.cancelled_at, reason: 'CANCELLED' };
    default:
      return row;
  }
}

function resultOf({ log, output, log_size, output_size, ran }: FinishedRow) {
  return { log, output, log_size, output_size, ran };
}

function messageOf(row: AttemptRow): Attempt {
  const { number, worker, worker_name: workerName, fault, reason, message, log, output } = row;
  return create(AttemptSchema, {
    number,
    worker,
    workerName,
    fault,
    reason,
    message,
    log,
    output,
    ...keptDigests(row),
    startedAt: timestampFromMs(row.started_at),
    ...(row.ran && { ran: ranOfText(row.ran) }),
    ...(row.ended_at !== null && { endedAt: timestampFromMs(row.ended_at) }),
  });
}
