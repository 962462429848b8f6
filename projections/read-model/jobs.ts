import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import { RetryPolicySchema, TimeLimitsSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import {
  JobState,
  RuntimeConstraintsSchema,
  type TasksSummary,
  TasksSummarySchema,
} from '../../gen/memoir/jobs/v1/job_pb.js';
import { codePathsText } from '../../src/domain/code/code-paths.js';
import { keptSize } from '../../src/domain/outputs/digest.js';
import { findJob, uuidIndex, whereUuid } from '../running/job-position.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';
import { attemptQueries, attemptTable, attemptWriter, ranText } from './attempts.js';
import { interestColumns, interestQueries, interestTable, interestWriter, keptId } from './interests.js';
import { inputsText, type JobRow, secretsJson } from './job-row.js';
import { listIndexes } from './list-indexes.js';

export { type JobRow, jobFromRow } from './job-row.js';

/** One row a job. Times are in milliseconds since 1970-01-01T00:00Z; `position` is that of its JobRequested. */
export const jobs: Projection = {
  name: 'jobs',
  version: 16,
  tables: ['job', 'label', 'attempt', 'interest'],
  schema: `
    CREATE TABLE job (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      script TEXT NOT NULL,
      script_version TEXT NOT NULL,
      supplied_script_version TEXT NOT NULL,
      script_parameters TEXT NOT NULL,
      state INTEGER NOT NULL,
      priority INTEGER NOT NULL,
      submit_id TEXT NOT NULL,
      request_digest TEXT NOT NULL,
      nondeterministic INTEGER NOT NULL,
      runtime_constraints TEXT,
      docker_image_locator TEXT NOT NULL,
      arvados_sdk_version TEXT NOT NULL,
      output TEXT NOT NULL DEFAULT '',
      log TEXT NOT NULL DEFAULT '',
      output_v1 TEXT NOT NULL DEFAULT '',
      output_size INTEGER,
      log_size INTEGER,
      ran TEXT,
      tasks_summary TEXT,
      components TEXT NOT NULL,
      description TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      started_at INTEGER,
      finished_at INTEGER,
      cancelled_at INTEGER,
      cancelled_by TEXT NOT NULL DEFAULT '',
      claimed_by TEXT NOT NULL DEFAULT '',
      lease_expires_at INTEGER,
      lease_ms INTEGER NOT NULL DEFAULT 0,
      lease_revision INTEGER NOT NULL DEFAULT -1,
      run_number INTEGER NOT NULL,
      computation_digest TEXT NOT NULL,
      revision INTEGER NOT NULL,
      failure_reason TEXT NOT NULL DEFAULT '',
      failure_message TEXT NOT NULL DEFAULT '',
      progress REAL,
      progress_message TEXT NOT NULL DEFAULT '',
      deleted INTEGER NOT NULL DEFAULT 0,
      leave_lfs_pointers INTEGER NOT NULL,
      leave_submodules INTEGER NOT NULL,
      require_output INTEGER NOT NULL,
      labels TEXT NOT NULL,
      required_labels TEXT NOT NULL,
      attempt_count INTEGER NOT NULL DEFAULT 0,
      retry TEXT,
      limits TEXT,
      retry_of TEXT NOT NULL,
      check_of TEXT NOT NULL,
      code_paths TEXT NOT NULL,
      code_digest TEXT NOT NULL,
      inputs TEXT,
      secrets TEXT,
      supersede INTEGER NOT NULL,
      unhashed_parameters TEXT,${interestColumns}
    ) STRICT;${attemptTable}${interestTable}
    CREATE TABLE label (
      name TEXT NOT NULL,
      value TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (name, value, created_at, position)
    ) STRICT, WITHOUT ROWID;
    ${uuidIndex};
  `,
  indexes: `
    CREATE INDEX IF NOT EXISTS job_created ON job (created_at, position);
    CREATE INDEX IF NOT EXISTS job_submit_id ON job (owner, submit_id) WHERE submit_id <> '';
    ${listIndexes}
    CREATE INDEX IF NOT EXISTS job_running ON job (position) WHERE state = ${JobState.RUNNING};
  `,
  findJob,
  prepare(db, positionOf) {
    const insert = db.prepare(`
      INSERT INTO job (position, uuid, owner, repository, script, script_version, supplied_script_version, script_parameters,
        state, priority, submit_id, request_digest, nondeterministic, runtime_constraints, docker_image_locator,
        arvados_sdk_version, components, description, created_at, run_number, computation_digest, revision,
        leave_lfs_pointers, leave_submodules, require_output, labels, required_labels, retry, limits, retry_of,
        check_of, code_paths, code_digest, inputs, secrets, supersede, unhashed_parameters, interest_id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ${JobState.QUEUED}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    const label = db.prepare('INSERT INTO label (name, value, created_at, position) VALUES (?, ?, ?, ?)');
    const unlabel = db.prepare('DELETE FROM label WHERE name = ? AND value = ? AND created_at = ? AND position = ?');
    const labelled = db.prepare('SELECT labels, created_at FROM job WHERE position = ?');
    const setLabels = (position: number, createdAt: number, labels: Labels) => {
      for (const name in labels) label.run(name, labels[name], createdAt, position);
    };
    const started = db.prepare(`
      UPDATE job SET state = ${JobState.RUNNING}, attempt_count = ?, claimed_by = ?, started_at = ?, lease_ms = ?,
        lease_expires_at = ?, lease_revision = ?, tasks_summary = NULL, progress = NULL, progress_message = '', revision = ?
      WHERE position = ?`);
    const progressed = db.prepare(`
      UPDATE job SET lease_ms = ?, lease_expires_at = ?, lease_revision = ?, tasks_summary = coalesce(?, tasks_summary),
        progress = coalesce(?, progress), progress_message = coalesce(?, progress_message), revision = ? WHERE position = ?`);
    const released = 'lease_ms = 0, lease_expires_at = NULL, lease_revision = -1';
    const attempts = attemptWriter(db);
    const interests = interestWriter(db);
    const again = db.prepare(`
      UPDATE job SET state = ${JobState.QUEUED}, claimed_by = '', started_at = NULL, ${released}, revision = ?
      WHERE position = ?`);
    const resumed = db.prepare(`
      UPDATE job SET state = ${JobState.RUNNING}, lease_ms = ?, lease_expires_at = ?, lease_revision = ?, revision = ?,
        (claimed_by, started_at) = (SELECT worker, started_at FROM attempt WHERE job = ? AND number = ?)
      WHERE position = ?`);
    const completed = db.prepare(`
      UPDATE job SET state = ${JobState.COMPLETE}, output = ?, log = ?, output_v1 = ?, output_size = ?, log_size = ?, ran = ?,
        tasks_summary = coalesce(?, tasks_summary), finished_at = ?, ${released}, revision = ? WHERE position = ?`);
    const failed = db.prepare(`
      UPDATE job SET state = ${JobState.FAILED}, failure_reason = ?, failure_message = ?, log = ?, log_size = ?, ran = ?,
        tasks_summary = coalesce(?, tasks_summary), finished_at = ?, ${released}, revision = ? WHERE position = ?`);
    const cancelled = db.prepare(`
      UPDATE job SET state = ${JobState.CANCELLED}, cancelled_by = ?, cancelled_at = ?, ${released}, revision = ?
      WHERE position = ?`);
    const updated = db.prepare(`
      UPDATE job SET priority = coalesce(?, priority), description = coalesce(?, description),
        components = coalesce(?, components), labels = coalesce(?, labels), revision = ? WHERE position = ?`);
    const deleted = db.prepare('UPDATE job SET deleted = 1, revision = ? WHERE position = ?');
    return {
      JobRequested(event, recorded) {
        const { position, revision, id } = recorded;
        const { runtimeConstraints } = event;
        insert.run(
          position,
          event.uuid,
          event.owner,
          event.repository,
          event.script,
          event.scriptVersion,
          event.suppliedScriptVersion,
          JSON.stringify(event.scriptParameters ?? {}),
          event.priority,
          event.submitId,
          event.requestDigest,
          Number(event.nondeterministic),
          jsonOrNull(RuntimeConstraintsSchema, runtimeConstraints),
          event.dockerImageLocator,
          event.arvadosSdkVersion,
          JSON.stringify(event.components),
          event.description,
          millis(event.requestedAt),
          event.runNumber,
          event.computationDigest,
          revision,
          Number(event.leaveLfsPointers ?? true),
          Number(event.leaveSubmodules ?? true),
          Number(event.requireOutput),
          JSON.stringify(event.labels),
          JSON.stringify(event.requiredLabels),
          jsonOrNull(RetryPolicySchema, event.retry),
          jsonOrNull(TimeLimitsSchema, event.limits),
          event.retryOf,
          event.checkOf,
          codePathsText(event.codePaths),
          event.codeDigest,
          inputsText(event.inputs),
          secretsJson(event.secrets),
          Number(event.supersede),
          event.unhashedParameters ? JSON.stringify(event.unhashedParameters) : null,
          keptId(event, id),
        );
        interests.requested(event, recorded);
        setLabels(position, millis(event.requestedAt), event.labels);
      },
      JobStarted(event, { stream, revision }) {
        const leaseMs = event.lease ? durationMs(event.lease) : 0;
        const at = millis(event.startedAt);
        const position = positionOf(stream);
        const number = event.attempt || 1;
        started.run(number, event.worker, at, leaseMs, at + leaseMs, revision, revision, position);
        attempts.started(position, event);
        interests.started(position);
      },
      JobAttemptEnded(event, { stream, revision }) {
        const position = positionOf(stream);
        again.run(revision, position);
        attempts.ended(position, event);
        interests.ended(position, event.minRamMb);
      },
      JobResumed(event, { stream, revision }) {
        const leaseMs = event.lease ? durationMs(event.lease) : 0;
        const position = positionOf(stream);
        const number = event.attempt || 1;
        const expiresAt = millis(event.resumedAt) + leaseMs;
        resumed.run(leaseMs, expiresAt, revision, revision, position, number, position);
        attempts.resumed(position, event);
      },
      JobProgressed(event, { stream, revision }) {
        const leaseMs = event.lease ? durationMs(event.lease) : 0;
        progressed.run(
          leaseMs,
          millis(event.progressedAt) + leaseMs,
          revision,
          tasks(event.tasksSummary),
          event.progress ?? null,
          event.progressMessage ?? null,
          revision,
          positionOf(stream),
        );
      },
      JobCompleted(event, { stream, revision }) {
        const at = millis(event.completedAt);
        const position = positionOf(stream);
        const { output, log, outputV1 } = event;
        const sizes = [keptSize(event.outputDigest), keptSize(event.logDigest)];
        completed.run(
          output,
          log,
          outputV1,
          ...sizes,
          ranText(event.ran),
          tasks(event.tasksSummary),
          at,
          revision,
          position,
        );
        interests.finished(position);
      },
      JobFailed(event, { stream, revision }) {
        const at = millis(event.failedAt);
        const position = positionOf(stream);
        const { reason, message, log, logDigest } = event;
        const size = keptSize(logDigest);
        failed.run(reason, message, log, size, ranText(event.ran), tasks(event.tasksSummary), at, revision, position);
        attempts.failed(position, event);
        interests.finished(position);
      },
      JobCancelled(event, { stream, revision }) {
        const position = positionOf(stream);
        cancelled.run(event.cancelledBy, millis(event.cancelledAt), revision, position);
        interests.finished(position);
      },
      JobUpdated(event, { stream, revision }) {
        const components = event.components ? JSON.stringify(event.components.uuids) : null;
        const labels = event.labels ? JSON.stringify(event.labels.values) : null;
        const position = positionOf(stream);
        const row = event.labels && (labelled.get(position) as Pick<JobRow, 'labels' | 'created_at'> | undefined);
        if (row && event.labels && position !== null) {
          const before = JSON.parse(row.labels) as Labels;
          for (const name in before) unlabel.run(name, before[name], row.created_at, position);
          setLabels(position, row.created_at, event.labels.values);
        }
        const priority = interests.updated(position, event);
        updated.run(priority, event.description ?? null, components, labels, revision, position);
      },
      JobJoined: (event, recorded) => interests.joined(positionOf(recorded.stream), event, recorded),
      JobLeft: (event, recorded) => interests.left(positionOf(recorded.stream), event, recorded),
      JobDeleted(_event, { stream, revision }) {
        deleted.run(revision, positionOf(stream));
      },
    };
  },
};

type Labels = Record<string, string>;

function tasks(summary: TasksSummary | undefined): string | null {
  return jsonOrNull(TasksSummarySchema, summary);
}

function jsonOrNull<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc> | undefined): string | null {
  return message ? JSON.stringify(toJson(schema, message)) : null;
}

/** A lease as the read model knows it. */
export type LeaseRow = {
  readonly uuid: string;
  readonly lease_ms: number;
  readonly lease_revision: number;
  /** Number of the attempt. */
  readonly attempt: number;
  /** Longest run of an attempt, as ProtoJSON has it; null for any. */
  readonly run_limit: string | null;
};

/** What is told apart by which job an event is of. */
export type JobFactsRow = {
  readonly owner: string;
  readonly repository: string;
  readonly script: string;
  readonly claimedBy: string;
};

/** Reads of the jobs that were not deleted. */
export function jobQueries(db: Database.Database) {
  const byUuid = db.prepare(`SELECT * FROM job WHERE ${whereUuid} AND deleted = 0`);
  const bySubmitId = db.prepare(
    "SELECT * FROM job WHERE owner = ? AND submit_id = ? AND submit_id <> '' ORDER BY position LIMIT 1",
  );
  const facts = db.prepare(`SELECT owner, repository, script, claimed_by AS claimedBy FROM job WHERE ${whereUuid}`);
  const revision = db.prepare(`SELECT revision FROM job WHERE ${whereUuid} AND deleted = 0`).pluck();
  const running = db.prepare(
    `SELECT uuid, lease_ms, lease_revision, attempt_count AS attempt, limits ->> '$.run' AS run_limit FROM job WHERE state = ${JobState.RUNNING}`,
  );
  const commits = db.prepare(
    'SELECT position, repository, script_version AS "commit" FROM job WHERE position > ? ORDER BY position LIMIT ?',
  );
  return {
    /** The attempts of a job, of which the row is given, the first one first. */
    attempts: attemptQueries(db),
    ...interestQueries(db),
    /** The row of a job. */
    get: (uuid: string) => byUuid.get(uuid, uuid) as JobRow | undefined,
    /** The first job that an owner made with a submit_id, deleted or not. */
    bySubmitId: (owner: string, submitId: string) => bySubmitId.get(owner, submitId) as JobRow | undefined,
    /** Whose a job is, deleted or not. */
    facts: (uuid: string) => facts.get(uuid, uuid) as JobFactsRow | undefined,
    /** Revision of a job. */
    revision: (uuid: string) => revision.get(uuid, uuid) as number | undefined,
    /** Repositories and commits of up to `limit` jobs after a position, deleted or not. */
    commits: (after: number, limit: number) =>
      commits.all(after, limit) as { position: number; repository: string; commit: string }[],
    /** The leases of all running jobs. */
    leases: () => running.all() as LeaseRow[],
  };
}
