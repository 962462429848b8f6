import { durationMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import type { JobAttemptEnded, JobResumed, JobStarted } from '../../gen/memoir/events/v1/events_pb.js';
import { keptSize } from '../../src/domain/outputs/digest.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { ranText } from '../read-model/attempts.js';
import { millis } from '../running/millis.js';

/**
 * SQL that makes the table of the turns of jobs that were queued again: each has the job run by an attempt, or queued. `begun` is the
 * position at which the attempt was started. How an attempt ended is said in the turn that it ended with.
 */
export const turnTable = `
    CREATE TABLE job_turn (
      job INTEGER NOT NULL,
      position INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      number INTEGER NOT NULL,
      begun INTEGER NOT NULL,
      worker TEXT NOT NULL,
      started_at INTEGER NOT NULL,
      running INTEGER NOT NULL,
      lease_ms INTEGER NOT NULL,
      lease_expires_at INTEGER NOT NULL,
      ended_at INTEGER,
      fault INTEGER NOT NULL DEFAULT 0,
      reason TEXT NOT NULL DEFAULT '',
      message TEXT NOT NULL DEFAULT '',
      log TEXT NOT NULL DEFAULT '',
      output TEXT NOT NULL DEFAULT '',
      log_size INTEGER,
      output_size INTEGER,
      ran TEXT,
      PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_turn_worker ON job_turn (worker, job);`;

type At = Pick<RecordedEvent, 'position' | 'revision'>;

/** Writes what attempts make of jobs, as part of the projection of their lives. */
export function turnWriter(db: Database.Database) {
  const start = db.prepare(`
    UPDATE job_life SET started = @position, started_revision = @revision, lease_ms = @leaseMs, started_at = @startedAt,
      claimed_by = @worker, attempt = @number, begun = @position WHERE job = @job AND started IS NULL`);
  const startAgain = db.prepare('UPDATE job_life SET attempt = @number, begun = @position WHERE job = @job');
  const first = db.prepare(`
    INSERT INTO job_turn (job, position, revision, number, begun, worker, started_at, running, lease_ms, lease_expires_at)
    SELECT job, started, started_revision, attempt, started, claimed_by, started_at, 1, lease_ms, started_at + lease_ms
    FROM job_life WHERE job = ? AND turned IS NULL`);
  const turn = db.prepare('UPDATE job_life SET turned = started WHERE job = ? AND turned IS NULL');
  const insert = db.prepare(`
    INSERT INTO job_turn (job, position, revision, number, begun, worker, started_at, running, lease_ms, lease_expires_at)
    VALUES (@job, @position, @revision, @number, @position, @worker, @startedAt, 1, @leaseMs, @startedAt + @leaseMs)`);
  const follow = db.prepare(`
    INSERT INTO job_turn (job, position, revision, number, begun, worker, started_at, running, lease_ms, lease_expires_at,
      ended_at, fault, reason, message, log, output, log_size, output_size, ran)
    SELECT job, @position, @revision, number, begun, worker, started_at, @running, @leaseMs, @expiresAt, @endedAt, @fault,
      @reason, @message, @log, @output, @logSize, @outputSize, @ran
    FROM job_turn WHERE job = @job ORDER BY position DESC LIMIT 1`);
  const none = {
    endedAt: null,
    fault: 0,
    reason: '',
    message: '',
    log: '',
    output: '',
    logSize: null,
    outputSize: null,
    ran: null,
  };
  return {
    started(job: number | null, event: JobStarted, { position, revision }: At): void {
      const leaseMs = event.lease ? durationMs(event.lease) : 0;
      const startedAt = millis(event.startedAt);
      const row = { job, position, revision, leaseMs, startedAt, worker: event.worker, number: event.attempt || 1 };
      if (start.run(row).changes > 0 || job === null) return;
      startAgain.run({ job, position, number: row.number });
      insert.run(row);
    },
    ended(job: number | null, event: JobAttemptEnded, { position, revision }: At): void {
      const { fault, reason, message, log, output } = event;
      first.run(job);
      turn.run(job);
      const sizes = { logSize: keptSize(event.logDigest), outputSize: keptSize(event.outputDigest) };
      const end = {
        endedAt: millis(event.endedAt),
        fault,
        reason,
        message,
        log,
        output,
        ...sizes,
        ran: ranText(event.ran),
      };
      follow.run({ job, position, revision, running: 0, leaseMs: 0, expiresAt: 0, ...end });
    },
    resumed(job: number | null, event: JobResumed, { position, revision }: At): void {
      const leaseMs = event.lease ? durationMs(event.lease) : 0;
      const expiresAt = millis(event.resumedAt) + leaseMs;
      follow.run({ job, position, revision, running: 1, leaseMs, expiresAt, ...none });
    },
  };
}
