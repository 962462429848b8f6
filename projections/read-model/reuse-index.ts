import type Database from 'better-sqlite3';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CandidateFacts, labelsText } from '../../src/domain/reuse.js';
import type { Position } from '../../src/eventstore/port.js';
import { checkpointOf } from '../running/checkpoint.js';
import type { Projection } from '../running/projection.js';
import { type FlagsRow, flagsOf } from './flags.js';

/**
 * The candidates of reuse: one narrow row a job, found by computation in the order of age. `position` is that of its JobRequested.
 * Beside them the runs that are taken without a job: those of jobs that the log lost.
 */
export const reuseIndex: Projection = {
  name: 'reuse-index',
  version: 7,
  tables: ['candidate', 'taken_run'],
  schema: `
    CREATE TABLE candidate (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      computation_digest TEXT NOT NULL,
      run_number INTEGER NOT NULL,
      parameters_digest TEXT NOT NULL,
      owner TEXT NOT NULL,
      state INTEGER NOT NULL,
      script_version TEXT NOT NULL,
      docker_image_locator TEXT NOT NULL,
      arvados_sdk_version TEXT NOT NULL,
      nondeterministic INTEGER NOT NULL,
      deleted INTEGER NOT NULL DEFAULT 0,
      output TEXT NOT NULL DEFAULT '',
      log TEXT NOT NULL DEFAULT '',
      leave_lfs_pointers INTEGER NOT NULL,
      leave_submodules INTEGER NOT NULL,
      required_labels TEXT NOT NULL
    ) STRICT;
    CREATE TABLE taken_run (
      computation_digest TEXT NOT NULL,
      position INTEGER NOT NULL,
      last_run INTEGER NOT NULL,
      PRIMARY KEY (computation_digest, position)
    ) STRICT, WITHOUT ROWID;
  `,
  indexes: `
    CREATE INDEX IF NOT EXISTS candidate_computation ON candidate (substr(computation_digest, 1, 12), run_number);
    CREATE INDEX IF NOT EXISTS candidate_parameters ON candidate (substr(parameters_digest, 1, 12));
  `,
  prepare(db, positionOf) {
    const insert = db.prepare(`
      INSERT INTO candidate (position, uuid, computation_digest, run_number, parameters_digest, owner, state, script_version,
        docker_image_locator, arvados_sdk_version, nondeterministic, leave_lfs_pointers, leave_submodules, required_labels)
      VALUES (?, ?, ?, ?, ?, ?, ${JobState.QUEUED}, ?, ?, ?, ?, ?, ?, ?)`);
    const enter = db.prepare('UPDATE candidate SET state = ? WHERE position = ?');
    const complete = db.prepare(
      `UPDATE candidate SET state = ${JobState.COMPLETE}, output = ?, log = ? WHERE position = ?`,
    );
    const remove = db.prepare('UPDATE candidate SET deleted = 1 WHERE position = ?');
    const take = db.prepare(
      'INSERT OR REPLACE INTO taken_run (computation_digest, position, last_run) VALUES (?, ?, ?)',
    );
    return {
      JobRequested(event, { position }) {
        insert.run(
          position,
          event.uuid,
          event.computationDigest,
          event.runNumber,
          event.parametersDigest,
          event.owner,
          event.scriptVersion,
          event.dockerImageLocator,
          event.arvadosSdkVersion,
          Number(event.nondeterministic),
          Number(event.leaveLfsPointers ?? true),
          Number(event.leaveSubmodules ?? true),
          labelsText(event.requiredLabels),
        );
      },
      JobStarted: (_event, { stream }) => void enter.run(JobState.RUNNING, positionOf(stream)),
      JobAttemptEnded: (_event, { stream }) => void enter.run(JobState.QUEUED, positionOf(stream)),
      JobResumed: (_event, { stream }) => void enter.run(JobState.RUNNING, positionOf(stream)),
      JobCompleted: (event, { stream }) => void complete.run(event.output, event.log, positionOf(stream)),
      JobFailed: (_event, { stream }) => void enter.run(JobState.FAILED, positionOf(stream)),
      JobCancelled: (_event, { stream }) => void enter.run(JobState.CANCELLED, positionOf(stream)),
      RunNumbersTaken(event, { position }) {
        for (const { computationDigest, lastRun } of event.computations) take.run(computationDigest, position, lastRun);
      },
      JobDeleted: (_event, { stream }) => void remove.run(positionOf(stream)),
    };
  },
};

/** Columns of a `CandidateRow`. */
export const candidateColumns = [
  'uuid',
  'owner',
  'state',
  'script_version',
  'docker_image_locator',
  'arvados_sdk_version',
  'nondeterministic',
  'deleted',
  'output',
  'log',
  'leave_lfs_pointers',
  'leave_submodules',
  'required_labels',
]
  .map((column) => `candidate.${column}`)
  .join(', ');

/** SQL that picks the candidates with the parameters whose digest is bound to both of its parameters. */
export const ofParameters =
  'substr(candidate.parameters_digest, 1, 12) = substr(?, 1, 12) AND candidate.parameters_digest = ?';

/** What the index has of a candidate. */
export type CandidateRow = FlagsRow & {
  readonly uuid: string;
  readonly owner: string;
  readonly state: JobState;
  readonly script_version: string;
  readonly docker_image_locator: string;
  readonly arvados_sdk_version: string;
  readonly deleted: number;
  readonly output: string;
  readonly log: string;
  /** Of a row of the table `job` it is another text, which only candidates have that do not match filters. */
  readonly required_labels: string;
};

/** Reads of the index. */
export function reuseQueries(db: Database.Database) {
  const ofDigest = 'substr(computation_digest, 1, 12) = substr(?, 1, 12) AND computation_digest = ?';
  const ofComputation = db.prepare(`
    SELECT ${candidateColumns}
    FROM candidate WHERE ${ofDigest} ORDER BY run_number`);
  const last = db
    .prepare(
      `SELECT max(coalesce((SELECT max(run_number) FROM candidate WHERE ${ofDigest}), 0),
        coalesce((SELECT max(last_run) FROM taken_run WHERE computation_digest = ?), 0))`,
    )
    .pluck();
  const checkpoint = db.prepare(checkpointOf([reuseIndex.name])).pluck();
  const candidates = (computationDigest: string): CandidateFacts[] =>
    (ofComputation.all(computationDigest, computationDigest) as CandidateRow[]).map(factsFromRow);
  const lastRun = (computationDigest: string) =>
    last.get(computationDigest, computationDigest, computationDigest) as number;
  const runs = db.transaction((digest: string) => ({
    candidates: candidates(digest),
    lastRun: lastRun(digest),
    position: checkpoint.get() as Position,
  }));
  return {
    /** All jobs of a computation, oldest first. */
    candidates,
    /** Number of the last run of a computation that was given, whether its job is there or the log lost it; 0 if none was. */
    lastRun,
    /** Both, and the position of the log that they are of. */
    runs: (computationDigest: string) => runs(computationDigest),
  };
}

/** The facts in a row of the index, or of the table `job`. */
export function factsFromRow(row: CandidateRow): CandidateFacts {
  return {
    uuid: row.uuid,
    owner: row.owner,
    state: row.state,
    scriptVersion: row.script_version,
    dockerImageLocator: row.docker_image_locator,
    arvadosSdkVersion: row.arvados_sdk_version,
    ...flagsOf(row),
    deleted: row.deleted !== 0,
    output: row.output,
    log: row.log,
    ...(row.required_labels !== '' && { requiredLabels: row.required_labels }),
  };
}
