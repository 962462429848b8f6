import { create, fromJson, toJson } from '@bufbuild/protobuf';
import { durationMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import type { JobJoined, JobLeft, JobRequested, JobUpdated } from '../../gen/memoir/events/v1/events_pb.js';
import { type Interest, InterestSchema, type Minima, MinimaSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { resultingPriority } from '../../src/domain/interests/interests.js';
import { minimaOf } from '../../src/domain/interests/minima.js';
import { isFinished } from '../../src/domain/job-state.js';
import { isUuid } from '../../src/domain/streams.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { millis } from '../running/millis.js';

/**
 * SQL of the columns of `job` that tell of interests: how many stand, until the job has finished; since when the first of them does, NULL for since
 * its request; what they ask for together, as JSON, NULL for what the request does; the least RAM that an attempt left it with, in MiB; and the id
 * of the owner's, NULL if that is the submit_id.
 */
export const interestColumns = `
      interest_count INTEGER NOT NULL DEFAULT 1,
      waiting_since INTEGER,
      minima TEXT,
      least_ram_mb INTEGER NOT NULL DEFAULT 0,
      interest_id ANY`;

/**
 * SQL that makes the table of the interests that stand in unfinished jobs, by the position of the job and of the event that began each. A job that only its
 * owner wants has none, unless that is to end after some time. `queued_ms` is how long one stands unless the job is run.
 */
export const interestTable = `
    CREATE TABLE interest (
      job INTEGER NOT NULL,
      position INTEGER NOT NULL,
      principal TEXT NOT NULL,
      id TEXT NOT NULL,
      since INTEGER NOT NULL,
      priority INTEGER NOT NULL,
      queued_ms INTEGER,
      PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX interest_limit ON interest (job) WHERE queued_ms IS NOT NULL;`;

/** How the id of an owner's interest is kept: 16 bytes of a UUID. */
export function keptId({ submitId }: JobRequested, id: string): Buffer | string | null {
  if (submitId !== '') return null;
  return isUuid(id) ? Buffer.from(id.replaceAll('-', ''), 'hex') : id;
}

function idOf({ submit_id: submitId, interest_id: kept }: Pick<InterestedRow, 'submit_id' | 'interest_id'>): string {
  if (kept === null) return submitId;
  if (typeof kept === 'string') return kept;
  return kept.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What of the row of a job tells of its owner's interest. */
type InterestedRow = {
  readonly position: number;
  readonly state: JobState;
  readonly owner: string;
  readonly submit_id: string;
  readonly interest_id: Buffer | string | null;
  readonly created_at: number;
  readonly priority: number;
  readonly interest_count?: number;
};

/** Writes interests, as part of the projection of the jobs. */
export function interestWriter(db: Database.Database) {
  const insert = db.prepare(
    'INSERT INTO interest (job, position, principal, id, since, priority, queued_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const any = db.prepare('SELECT 1 FROM interest WHERE job = ? LIMIT 1').pluck();
  const row = db.prepare('SELECT * FROM job WHERE position = ?');
  const join = db.prepare(`
    UPDATE job SET interest_count = interest_count + 1, priority = coalesce(?, priority), minima = coalesce(?, minima),
      revision = ? WHERE position = ?`);
  const leave = db.prepare(`
    UPDATE job SET interest_count = interest_count - 1, waiting_since = coalesce(?, waiting_since),
      priority = coalesce(?, priority), minima = coalesce(?, minima), revision = ? WHERE position = ?`);
  const remove = db.prepare('DELETE FROM interest WHERE job = ? AND principal = ? AND id = ?');
  const removeAll = db.prepare('DELETE FROM interest WHERE job = ?');
  const setOne = db.prepare('UPDATE interest SET priority = ? WHERE job = ? AND principal = ? AND id = ?');
  const setAll = db.prepare('UPDATE interest SET priority = ? WHERE job = ?');
  const unlimit = db.prepare('UPDATE interest SET queued_ms = NULL WHERE job = ? AND queued_ms IS NOT NULL');
  const raise = db.prepare('UPDATE job SET least_ram_mb = max(least_ram_mb, ?) WHERE position = ?');

  /** Gives the owner's interest a row of its own, now that it is no longer told by that of the job. */
  function apart(job: number): void {
    if (any.get(job) !== undefined) return;
    const own = row.get(job) as InterestedRow | undefined;
    if (own) insert.run(job, job, own.owner, idOf(own), own.created_at, own.priority, null);
  }

  return {
    requested(event: JobRequested, { position, id }: RecordedEvent): void {
      const queued = event.limits?.queued;
      if (!queued) return;
      const since = millis(event.requestedAt);
      insert.run(position, position, event.owner, event.submitId || id, since, event.priority, durationMs(queued));
    },
    joined(job: number | null, event: JobJoined, { position, revision, id }: RecordedEvent): void {
      if (job === null) return;
      apart(job);
      const queuedMs = event.limits?.queued ? durationMs(event.limits.queued) : null;
      const name = event.interest || event.submitId || id;
      insert.run(job, position, event.principal, name, millis(event.joinedAt), event.priority, queuedMs);
      join.run(event.resultingPriority ?? null, minimaText(event.resultingMinima), revision, job);
    },
    left(job: number | null, event: JobLeft, { revision }: RecordedEvent): void {
      if (job === null) return;
      apart(job);
      remove.run(job, event.principal, event.interest);
      const since = event.waitingSince ? timestampMs(event.waitingSince) : null;
      leave.run(since, event.resultingPriority ?? null, minimaText(event.resultingMinima), revision, job);
    },
    /** Gives the priority that the job has from then on; null if unchanged. */
    updated(job: number | null, event: JobUpdated): number | null {
      const { priority, interest, updatedBy } = event;
      if (job === null || priority === undefined) return null;
      if (interest === '') setAll.run(priority, job);
      else {
        apart(job);
        setOne.run(priority, job, updatedBy, interest);
      }
      return resultingPriority(event) ?? null;
    },
    /** A job that was run once is not given up for having waited. */
    started: (job: number | null) => void unlimit.run(job),
    ended(job: number | null, minRamMb: bigint): void {
      if (minRamMb > 0n) raise.run(minRamMb, job);
    },
    finished: (job: number | null) => void removeAll.run(job),
  };
}

/** Minima as they are kept; null for none. */
export function minimaText(minima: Minima | undefined): string | null {
  return minima ? JSON.stringify(toJson(MinimaSchema, minima)) : null;
}

/** What of the row of a job tells of who wants it, as far as it was asked for. */
export type WaitingRow = {
  readonly state: JobState;
  readonly created_at: number;
  readonly interest_count?: number;
  readonly waiting_since?: number | null;
  readonly minima?: string | null;
  readonly least_ram_mb?: number;
};

/** Tells in a job how many wait for it, since when, and what they ask for together. */
export function tellWaiting(job: Job, row: WaitingRow): void {
  const asked = row.minima ? fromJson(MinimaSchema, JSON.parse(row.minima)) : minimaOf(job.runtimeConstraints);
  const ramMb = BigInt(row.least_ram_mb ?? 0);
  const minima = ramMb > (asked?.ramMb ?? 0n) ? create(MinimaSchema, { ...(asked && plain(asked)), ramMb }) : asked;
  if (minima) job.minima = minima;
  if (row.interest_count === undefined || isFinished(row.state)) return;
  job.interestCount = row.interest_count;
  if (row.interest_count > 0) job.waitingSince = timestampFromMs(row.waiting_since ?? row.created_at);
}

function plain({ cores, scratchMb }: Minima) {
  return { cores, scratchMb };
}

/** An interest that ends after some time. */
export type LimitedRow = {
  readonly uuid: string;
  readonly principal: string;
  readonly id: string;
  readonly queued_ms: number;
  readonly position: number;
};

/** Reads of the interests. */
export function interestQueries(db: Database.Database) {
  const ofJob = db.prepare('SELECT principal, id, since, priority FROM interest WHERE job = ? ORDER BY position');
  const limited = db.prepare(`
    SELECT job.uuid, interest.principal, interest.id, interest.queued_ms, interest.position
    FROM interest INDEXED BY interest_limit JOIN job ON job.position = interest.job WHERE interest.queued_ms IS NOT NULL`);
  return {
    /** The interests in a job, of which the row is given, the first one first. */
    interests(job: InterestedRow): Interest[] {
      // None stands between the last who left and the cancellation that was recorded with that.
      if (isFinished(job.state) || job.interest_count === 0) return [];
      const rows = ofJob.all(job.position) as { principal: string; id: string; since: number; priority: number }[];
      if (rows.length === 0) rows.push({ ...job, principal: job.owner, id: idOf(job), since: job.created_at });
      return rows.map(({ principal, id, since, priority }) =>
        create(InterestSchema, { principal, id, priority, since: timestampFromMs(since) }),
      );
    },
    /** Those that end after some time unless their job is run. */
    limited: () => limited.all() as LimitedRow[],
  };
}
