import { toJson } from '@bufbuild/protobuf';
import { durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { resultingPriority } from '../../src/domain/interests/interests.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { minimaText } from '../read-model/interests.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';
import { turnTable, turnWriter } from './job-turns.js';

/** The 16 bytes of the uuid `@uuid`. */
const bytesOf = "coalesce(unhex(@uuid, '-'), CAST(@uuid AS BLOB))";

/**
 * When in the log a job became what it is. What an event sets once and for all, such as the output, stands in the read model, so
 * that the position of that event is enough to tell whether it was there already: `job_life` has these positions, of a job that
 * finishes and is deleted at most once, and that nearly always starts once. What may change more often has a row for each change:
 * `job_report` for each sign of life, `job_change` for each update and each change of who wants it, and `job_turn`, of a job that was queued again, for each start, end
 * and resumption of an attempt (from the first start on, which stands in `job_life` too).
 *
 * Texts that a change leaves as they were are not written again: `summed`, `said`, `described` and `composed` are the position of
 * the row that has them, 0 for what the job began with. `job` is the position of the JobRequested.
 */
export const jobLives: Projection = {
  name: 'job-lives',
  version: 6,
  tables: ['job_life', 'job_report', 'job_change', 'job_turn'],
  schema: `
    CREATE TABLE job_life (
      job INTEGER PRIMARY KEY,
      uuid BLOB NOT NULL,
      priority INTEGER NOT NULL,
      description TEXT NOT NULL,
      components TEXT NOT NULL,
      labels TEXT NOT NULL,
      started INTEGER,
      started_revision INTEGER,
      lease_ms INTEGER,
      started_at INTEGER,
      claimed_by TEXT,
      attempt INTEGER,
      begun INTEGER,
      turned INTEGER,
      reported INTEGER,
      changed INTEGER,
      finished INTEGER,
      finished_revision INTEGER,
      deleted INTEGER,
      deleted_revision INTEGER
    ) STRICT;
    CREATE INDEX job_life_uuid ON job_life (substr(uuid, 1, 6));
    CREATE TABLE job_report (
      job INTEGER NOT NULL,
      position INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      lease_ms INTEGER NOT NULL,
      lease_expires_at INTEGER NOT NULL,
      progress REAL,
      summed INTEGER NOT NULL,
      tasks_summary TEXT,
      said INTEGER NOT NULL,
      progress_message TEXT,
      PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE job_change (
      job INTEGER NOT NULL,
      position INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      priority INTEGER NOT NULL,
      described INTEGER NOT NULL,
      description TEXT,
      composed INTEGER NOT NULL,
      components TEXT,
      labelled INTEGER NOT NULL,
      labels TEXT,
      interest_count INTEGER NOT NULL,
      waiting_since INTEGER,
      minima TEXT,
      least_ram_mb INTEGER NOT NULL,
      PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    ${turnTable}
  `,
  findJob: `SELECT job FROM job_life WHERE substr(uuid, 1, 6) = substr(${bytesOf}, 1, 6) AND uuid = ${bytesOf}`,
  prepare(db, positionOf) {
    const insert = db.prepare(`
      INSERT INTO job_life (job, uuid, priority, description, components, labels)
      VALUES (@position, ${bytesOf}, @priority, @description, @components, @labels)`);
    const turns = turnWriter(db);
    const finished = db.prepare('UPDATE job_life SET finished = ?, finished_revision = ? WHERE job = ?');
    const deleted = db.prepare('UPDATE job_life SET deleted = ?, deleted_revision = ? WHERE job = ?');
    const reported = db.prepare('UPDATE job_life SET reported = ? WHERE job = ? AND reported IS NULL');
    const changed = db.prepare('UPDATE job_life SET changed = ? WHERE job = ? AND changed IS NULL');
    const before = (table: string) => `(SELECT * FROM ${table} WHERE job = @job ORDER BY position DESC LIMIT 1)`;
    const report = db.prepare(`
      INSERT INTO job_report (job, position, revision, lease_ms, lease_expires_at, progress, summed, tasks_summary, said,
        progress_message)
      SELECT @job, @position, @revision, @leaseMs, @expiresAt, coalesce(@progress, last.progress),
        iif(@tasks IS NULL, coalesce(last.summed, 0), @position), @tasks,
        iif(@message IS NULL, coalesce(last.said, 0), @position), @message
      FROM (SELECT 1) LEFT JOIN (
        SELECT * FROM job_report WHERE job = @job AND position > (SELECT begun FROM job_life WHERE job = @job)
        ORDER BY position DESC LIMIT 1) AS last`);
    const change = db.prepare(`
      INSERT INTO job_change (job, position, revision, priority, described, description, composed, components, labelled,
        labels, interest_count, waiting_since, minima, least_ram_mb)
      SELECT @job, @position, @revision, coalesce(@priority, last.priority, life.priority),
        iif(@description IS NULL, coalesce(last.described, 0), @position), @description,
        iif(@components IS NULL, coalesce(last.composed, 0), @position), @components,
        iif(@labels IS NULL, coalesce(last.labelled, 0), @position), @labels,
        coalesce(last.interest_count, 1) + @more, coalesce(@waitingSince, last.waiting_since),
        coalesce(@minima, last.minima), max(coalesce(last.least_ram_mb, 0), @leastRamMb)
      FROM job_life AS life LEFT JOIN ${before('job_change')} AS last WHERE life.job = @job`);
    const finish = (stream: string, position: number, revision: number) =>
      void finished.run(position, revision, positionOf(stream));
    const alter = (stream: string, { position, revision }: At, what: Partial<Changes>) => {
      const job = positionOf(stream);
      if (job === null) return;
      change.run({ job, position, revision, ...unchanged, ...what });
      changed.run(position, job);
    };
    return {
      JobRequested({ uuid, priority, description, ...event }, { position }) {
        const [components, labels] = [JSON.stringify(event.components), JSON.stringify(event.labels)];
        insert.run({ position, uuid, priority, description, components, labels });
      },
      JobStarted: (event, { stream, ...at }) => turns.started(positionOf(stream), event, at),
      JobAttemptEnded(event, { stream, ...at }) {
        turns.ended(positionOf(stream), event, at);
        if (event.minRamMb > 0n) alter(stream, at, { leastRamMb: event.minRamMb });
      },
      JobJoined(event, { stream, ...at }) {
        const { resultingPriority: priority = null, resultingMinima } = event;
        alter(stream, at, { priority, minima: minimaText(resultingMinima), more: 1 });
      },
      JobLeft(event, { stream, ...at }) {
        const { resultingPriority: priority = null, resultingMinima, waitingSince } = event;
        const since = waitingSince ? timestampMs(waitingSince) : null;
        alter(stream, at, { priority, minima: minimaText(resultingMinima), more: -1, waitingSince: since });
      },
      JobResumed: (event, { stream, ...at }) => turns.resumed(positionOf(stream), event, at),
      JobProgressed(event, { stream, position, revision }) {
        const job = positionOf(stream);
        if (job === null) return;
        const { lease, tasksSummary, progress = null, progressMessage: message = null } = event;
        const leaseMs = lease ? durationMs(lease) : 0;
        const expiresAt = millis(event.progressedAt) + leaseMs;
        const tasks = tasksSummary ? JSON.stringify(toJson(TasksSummarySchema, tasksSummary)) : null;
        report.run({ job, position, revision, leaseMs, expiresAt, progress, tasks, message });
        reported.run(position, job);
      },
      JobUpdated(event, { stream, ...at }) {
        const priority = resultingPriority(event) ?? null;
        const { description = null } = event;
        const components = event.components ? JSON.stringify(event.components.uuids) : null;
        const labels = event.labels ? JSON.stringify(event.labels.values) : null;
        alter(stream, at, { priority, description, components, labels });
      },
      JobCompleted: (_event, { stream, position, revision }) => finish(stream, position, revision),
      JobFailed: (_event, { stream, position, revision }) => finish(stream, position, revision),
      JobCancelled: (_event, { stream, position, revision }) => finish(stream, position, revision),
      JobDeleted(_event, { stream, position, revision }) {
        deleted.run(position, revision, positionOf(stream));
      },
    };
  },
};

type At = Pick<RecordedEvent, 'position' | 'revision'>;

/** What is changed of a job; null leaves it as it was. */
type Changes = {
  readonly priority: number | null;
  readonly description: string | null;
  readonly components: string | null;
  readonly labels: string | null;
  readonly waitingSince: number | null;
  readonly minima: string | null;
  readonly more: number;
  readonly leastRamMb: bigint;
};

const unchanged: Changes = {
  priority: null,
  description: null,
  components: null,
  labels: null,
  waitingSince: null,
  minima: null,
  more: 0,
  leastRamMb: 0n,
};
