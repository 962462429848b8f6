import { fromJsonString, toJsonString } from '@bufbuild/protobuf';
import type Database from 'better-sqlite3';
import { type Offer, OfferSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';

/**
 * Workers that were seen, the jobs that those which name themselves run, and the pauses of the queue that hold. Times are in milliseconds since
 * 1970-01-01T00:00Z. A worker that was drained before it was seen has a row too.
 */
export const workers: Projection = {
  name: 'workers',
  version: 1,
  tables: ['worker', 'worker_job', 'pause'],
  schema: `
    CREATE TABLE worker (
      principal TEXT NOT NULL,
      worker_name TEXT NOT NULL,
      host TEXT NOT NULL DEFAULT '',
      version TEXT NOT NULL DEFAULT '',
      offer TEXT,
      repositories TEXT NOT NULL DEFAULT '[]',
      seen_at INTEGER NOT NULL DEFAULT 0,
      drained INTEGER NOT NULL DEFAULT 0,
      drain_reason TEXT NOT NULL DEFAULT '',
      drained_by TEXT NOT NULL DEFAULT '',
      drained_at INTEGER,
      PRIMARY KEY (principal, worker_name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX worker_seen ON worker (seen_at, principal, worker_name);
    CREATE INDEX worker_drained ON worker (principal, worker_name) WHERE drained = 1;
    CREATE TABLE worker_job (
      uuid TEXT PRIMARY KEY,
      principal TEXT NOT NULL,
      worker_name TEXT NOT NULL,
      started_at INTEGER NOT NULL,
      heard_at INTEGER NOT NULL,
      ended INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX worker_job_of ON worker_job (principal, worker_name, started_at, uuid);
    CREATE TABLE pause (
      repositories TEXT PRIMARY KEY,
      position INTEGER NOT NULL,
      reason TEXT NOT NULL,
      paused_by TEXT NOT NULL,
      paused_at INTEGER NOT NULL,
      resumed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
  prepare(db) {
    const saw = db.prepare(`
      INSERT INTO worker (principal, worker_name, host, version, offer, repositories, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET host = excluded.host, version = excluded.version, offer = excluded.offer,
        repositories = excluded.repositories, seen_at = excluded.seen_at`);
    const drain = db.prepare(`
      INSERT INTO worker (principal, worker_name, drained, drain_reason, drained_by, drained_at) VALUES (?, ?, 1, ?, ?, ?)
      ON CONFLICT DO UPDATE SET drained = 1, drain_reason = excluded.drain_reason, drained_by = excluded.drained_by,
        drained_at = excluded.drained_at WHERE drained = 0`);
    const undrain = db.prepare(`
      UPDATE worker SET drained = 0, drain_reason = '', drained_by = '', drained_at = NULL
      WHERE principal = ? AND worker_name = ?`);
    const began = db.prepare(
      'INSERT OR REPLACE INTO worker_job (uuid, principal, worker_name, started_at, heard_at) VALUES (?, ?, ?, ?, ?)',
    );
    const heard = db.prepare('UPDATE worker_job SET heard_at = ?, ended = 0 WHERE uuid = ?');
    // Kept for the worker that takes its attempt back.
    const lost = db.prepare('UPDATE worker_job SET ended = 1 WHERE uuid = ?');
    const remove = db.prepare('DELETE FROM worker_job WHERE uuid = ?');
    const pause = db.prepare(`
      INSERT INTO pause (repositories, position, reason, paused_by, paused_at, resumed) VALUES (?, ?, ?, ?, ?, 0)
      ON CONFLICT DO UPDATE SET position = excluded.position, reason = excluded.reason, paused_by = excluded.paused_by,
        paused_at = excluded.paused_at, resumed = 0 WHERE resumed = 1`);
    const resume = db.prepare('UPDATE pause SET resumed = 1 WHERE repositories = ?');
    const ended = (_event: unknown, { stream }: { readonly stream: string }) =>
      void remove.run(uuidOfJobStream(stream));
    return {
      WorkerSeen(event) {
        const offer = event.offer ? toJsonString(OfferSchema, event.offer) : null;
        const repositories = JSON.stringify(event.repositories);
        const { principal, workerName, host, version } = event;
        saw.run(principal, workerName, host, version, offer, repositories, millis(event.seenAt));
      },
      WorkerDrained({ principal, workerName, reason, drainedBy, drainedAt }) {
        drain.run(principal, workerName, reason, drainedBy, millis(drainedAt));
      },
      WorkerUndrained: ({ principal, workerName }) => void undrain.run(principal, workerName),
      QueuePaused({ repositories, reason, pausedBy, pausedAt }, { position }) {
        pause.run(repositories, position, reason, pausedBy, millis(pausedAt));
      },
      QueueResumed: ({ repositories }) => void resume.run(repositories),
      JobStarted({ worker, workerName, startedAt }, { stream }) {
        const at = millis(startedAt);
        if (workerName !== '') began.run(uuidOfJobStream(stream), worker, workerName, at, at);
      },
      JobProgressed: ({ progressedAt }, { stream }) => void heard.run(millis(progressedAt), uuidOfJobStream(stream)),
      JobCompleted: ended,
      JobFailed: ended,
      JobCancelled: ended,
      JobAttemptEnded: (_event, { stream }) => void lost.run(uuidOfJobStream(stream)),
      JobResumed: ({ resumedAt }, { stream }) => void heard.run(millis(resumedAt), uuidOfJobStream(stream)),
    };
  },
};

/** Who a worker is. */
export type WorkerId = { readonly principal: string; readonly workerName: string };

/** A worker that was seen or drained. */
export type WorkerRow = WorkerId & {
  readonly host: string;
  readonly version: string;
  readonly offer: Offer | undefined;
  readonly repositories: readonly string[];
  /** When it claimed or was heard of last; 0 if it never was. */
  readonly seenAt: number;
  /** When a claim of it was recorded last; 0 if none ever was. */
  readonly recordedAt: number;
  readonly drained: boolean;
  readonly drainReason: string;
  readonly drainedBy: string;
  readonly drainedAt: number | undefined;
};

/** A job that a worker runs. */
export type WorkersJobRow = { readonly uuid: string; readonly startedAt: number };

/** A pause of a part of the queue. */
export type PauseRow = {
  readonly repositories: string;
  readonly position: number;
  readonly reason: string;
  readonly pausedBy: string;
  readonly pausedAt: number;
  readonly resumed: number;
};

/** Where a page of workers goes on. */
export type WorkersCursor = WorkerId & { readonly seenAt: number };

type Stored = Omit<WorkerRow, 'offer' | 'repositories' | 'drained' | 'drainedAt'> & {
  readonly offer: string | null;
  readonly repositories: string;
  readonly drained: number;
  readonly drainedAt: number | null;
};

/** Reads of the workers. */
export function workerQueries(db: Database.Database) {
  const heardAt = `(SELECT max(heard_at) FROM worker_job AS job
    WHERE job.principal = worker.principal AND job.worker_name = worker.worker_name AND ended = 0)`;
  const columns = `principal, worker_name AS workerName, host, version, offer, repositories, seen_at AS recordedAt, drained, drain_reason AS drainReason,
    drained_by AS drainedBy, drained_at AS drainedAt`;
  const all = `SELECT ${columns}, max(seen_at, coalesce(${heardAt}, 0)) AS seenAt FROM worker`;
  const one = db.prepare(`${all} WHERE principal = ? AND worker_name = ?`);
  const page = db.prepare(`
    SELECT * FROM (${all} WHERE (principal, worker_name) IN (
      SELECT principal, worker_name FROM worker WHERE seen_at >= ? UNION SELECT principal, worker_name FROM worker WHERE drained = 1
      UNION SELECT principal, worker_name FROM worker_job WHERE ended = 0))
    WHERE (-seenAt, principal, workerName) > (?, ?, ?)
    ORDER BY -seenAt, principal, workerName LIMIT ?`);
  const drained = db.prepare('SELECT 1 FROM worker WHERE drained = 1 AND principal = ? AND worker_name = ?').pluck();
  const jobs = db.prepare(`
    SELECT uuid, started_at AS startedAt FROM worker_job WHERE principal = ? AND worker_name = ? AND ended = 0
    ORDER BY started_at, uuid LIMIT ?`);
  const pauseColumns =
    'repositories, position, reason, paused_by AS pausedBy, paused_at AS pausedAt, resumed FROM pause';
  const pauses = db.prepare(`SELECT ${pauseColumns} WHERE resumed = 0 ORDER BY position`);
  const pause = db.prepare(`SELECT ${pauseColumns} WHERE repositories = ?`);
  const read = (row: Stored): WorkerRow => ({
    principal: row.principal,
    workerName: row.workerName,
    host: row.host,
    version: row.version,
    offer: row.offer === null ? undefined : fromJsonString(OfferSchema, row.offer),
    repositories: JSON.parse(row.repositories) as string[],
    seenAt: row.seenAt,
    recordedAt: row.recordedAt,
    drained: row.drained !== 0,
    drainReason: row.drainReason,
    drainedBy: row.drainedBy,
    drainedAt: row.drainedAt ?? undefined,
  });
  return {
    /** A worker, if it was ever seen or drained. */
    get({ principal, workerName }: WorkerId): WorkerRow | undefined {
      const row = one.get(principal, workerName) as Stored | undefined;
      return row && read(row);
    },
    /** Up to `limit` workers after the cursor that were heard of since a time, run a job, or are drained: the last heard of first. */
    page(since: number, after: WorkersCursor | undefined, limit: number): WorkerRow[] {
      const cursor = after ? [-after.seenAt, after.principal, after.workerName] : [Number.MIN_SAFE_INTEGER, '', ''];
      return (page.all(since, ...cursor, limit) as Stored[]).map(read);
    },
    /** Up to `limit` of the workers that were heard of since a time, or run a job. */
    seenSince: (since: number, limit: number) =>
      (page.all(since, Number.MIN_SAFE_INTEGER, '', '', limit) as Stored[])
        .filter(({ seenAt }) => seenAt >= since)
        .map(read),
    isDrained: ({ principal, workerName }: WorkerId) => drained.get(principal, workerName) !== undefined,
    /** What a worker runs, the first one begun first. */
    jobsOf: ({ principal, workerName }: WorkerId, limit: number) =>
      jobs.all(principal, workerName, limit) as WorkersJobRow[],
    /** The pauses that hold, the first one ordered first. */
    pauses: () => pauses.all() as PauseRow[],
    /** The last pause that was ordered with a glob, whether it holds or not. */
    pause: (repositories: string) => pause.get(repositories) as PauseRow | undefined,
  };
}
