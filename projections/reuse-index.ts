import type Database from 'better-sqlite3';
import { JobState } from '../gen/memoir/jobs/v1/job_pb.js';
import type { CandidateFacts } from '../src/domain/reuse.js';
import { uuidOfJobStream } from '../src/domain/streams.js';
import type { Projection } from './projection.js';

/** The candidates of reuse: one narrow row a job, by computation and run number, which is also their order of age. */
export const reuseIndex: Projection = {
  name: 'reuse-index',
  version: 1,
  tables: ['candidate'],
  schema: `
    CREATE TABLE candidate (
      computation_digest TEXT NOT NULL,
      run_number INTEGER NOT NULL,
      uuid TEXT NOT NULL UNIQUE,
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
      PRIMARY KEY (computation_digest, run_number)
    ) STRICT, WITHOUT ROWID;
  `,
  prepare(db) {
    const insert = db.prepare(`
      INSERT INTO candidate (computation_digest, run_number, uuid, parameters_digest, owner, state, script_version,
        docker_image_locator, arvados_sdk_version, nondeterministic)
      VALUES (?, ?, ?, ?, ?, ${JobState.QUEUED}, ?, ?, ?, ?)`);
    const enter = db.prepare('UPDATE candidate SET state = ? WHERE uuid = ?');
    const complete = db.prepare(
      `UPDATE candidate SET state = ${JobState.COMPLETE}, output = ?, log = ? WHERE uuid = ?`,
    );
    const remove = db.prepare('UPDATE candidate SET deleted = 1 WHERE uuid = ?');
    return {
      JobRequested(event) {
        insert.run(
          event.computationDigest,
          event.runNumber,
          event.uuid,
          event.parametersDigest,
          event.owner,
          event.scriptVersion,
          event.dockerImageLocator,
          event.arvadosSdkVersion,
          Number(event.nondeterministic),
        );
      },
      JobStarted: (_event, { stream }) => void enter.run(JobState.RUNNING, uuidOfJobStream(stream)),
      JobCompleted: (event, { stream }) => void complete.run(event.output, event.log, uuidOfJobStream(stream)),
      JobFailed: (_event, { stream }) => void enter.run(JobState.FAILED, uuidOfJobStream(stream)),
      JobCancelled: (_event, { stream }) => void enter.run(JobState.CANCELLED, uuidOfJobStream(stream)),
      JobDeleted: (_event, { stream }) => void remove.run(uuidOfJobStream(stream)),
    };
  },
};

type CandidateRow = {
  readonly uuid: string;
  readonly owner: string;
  readonly state: JobState;
  readonly script_version: string;
  readonly docker_image_locator: string;
  readonly arvados_sdk_version: string;
  readonly nondeterministic: number;
  readonly deleted: number;
  readonly output: string;
  readonly log: string;
};

/** Reads of the index. */
export function reuseQueries(db: Database.Database) {
  const ofComputation = db.prepare(`
    SELECT uuid, owner, state, script_version, docker_image_locator, arvados_sdk_version, nondeterministic, deleted, output, log
    FROM candidate WHERE computation_digest = ? ORDER BY run_number`);
  const lastRun = db.prepare('SELECT max(run_number) FROM candidate WHERE computation_digest = ?').pluck();
  return {
    /** All jobs of a computation, oldest first. */
    candidates: (computationDigest: string): CandidateFacts[] =>
      (ofComputation.all(computationDigest) as CandidateRow[]).map(factsFromRow),
    /** Number of the last run of a computation; 0 if there is none. */
    lastRun: (computationDigest: string) => (lastRun.get(computationDigest) as number | null) ?? 0,
  };
}

function factsFromRow(row: CandidateRow): CandidateFacts {
  return {
    uuid: row.uuid,
    owner: row.owner,
    state: row.state,
    scriptVersion: row.script_version,
    dockerImageLocator: row.docker_image_locator,
    arvadosSdkVersion: row.arvados_sdk_version,
    nondeterministic: row.nondeterministic !== 0,
    deleted: row.deleted !== 0,
    output: row.output,
    log: row.log,
  };
}
