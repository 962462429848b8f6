import type Database from 'better-sqlite3';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { codePathsText } from '../../src/domain/code/code-paths.js';
import { inputPointersOf, inputPointersText } from '../../src/domain/inputs/lacked-inputs.js';
import { askedOfText, askedPlace, askedText, ranInOf, ranInOfText, ranInText } from '../../src/domain/ran/ran-in.js';
import { type CandidateFacts, labelsText, type Ran } from '../../src/domain/reuse.js';
import { secretsText } from '../../src/domain/secrets/grants.js';
import type { Position } from '../../src/eventstore/port.js';
import { checkpointOf } from '../running/checkpoint.js';
import { millis } from '../running/millis.js';
import type { Projection } from '../running/projection.js';
import { type LossesOf, lossReader } from './content/content.js';
import { type FlagsRow, flagsOf } from './flags.js';

/**
 * The candidates of reuse: one narrow row a job, found by computation in the order of age. `position` is that of its JobRequested.
 * `worker` and what follows tell of the last attempt; `ran_until` is that of the one that completed the job. Beside them the runs that are taken without a job: those of jobs that the log lost.
 */
export const reuseIndex: Projection = {
  name: 'reuse-index',
  version: 15,
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
      output_v1 TEXT NOT NULL DEFAULT '',
      log TEXT NOT NULL DEFAULT '',
      leave_lfs_pointers INTEGER NOT NULL,
      leave_submodules INTEGER NOT NULL,
      required_labels TEXT NOT NULL,
      asked_place TEXT NOT NULL,
      input_pointers TEXT NOT NULL,
      is_check INTEGER NOT NULL,
      supersede INTEGER NOT NULL,
      code_paths TEXT NOT NULL,
      code_digest TEXT NOT NULL,
      secrets TEXT NOT NULL,
      ran_in TEXT NOT NULL DEFAULT '',
      worker TEXT NOT NULL DEFAULT '',
      worker_name TEXT NOT NULL DEFAULT '',
      ran_from INTEGER,
      ran_until INTEGER
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
        docker_image_locator, arvados_sdk_version, nondeterministic, leave_lfs_pointers, leave_submodules, required_labels,
        asked_place, input_pointers, is_check, supersede, code_paths, code_digest, secrets)
      VALUES (?, ?, ?, ?, ?, ?, ${JobState.QUEUED}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    const enter = db.prepare('UPDATE candidate SET state = ? WHERE position = ?');
    const start = db.prepare(
      `UPDATE candidate SET state = ${JobState.RUNNING}, worker = ?, worker_name = ?, ran_from = ? WHERE position = ?`,
    );
    const complete = db.prepare(
      `UPDATE candidate SET state = ${JobState.COMPLETE}, output = ?, output_v1 = ?, log = ?, ran_until = ?, ran_in = ? WHERE position = ?`,
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
          askedText(askedPlace(event.runtimeConstraints)),
          inputPointersText(event.inputs),
          Number(event.checkOf !== ''),
          Number(event.supersede),
          codePathsText(event.codePaths),
          event.codeDigest,
          secretsText(event.secrets),
        );
      },
      JobStarted: ({ worker, workerName, startedAt }, { stream }) =>
        void start.run(worker, workerName, millis(startedAt), positionOf(stream)),
      JobAttemptEnded: (_event, { stream }) => void enter.run(JobState.QUEUED, positionOf(stream)),
      JobResumed: (_event, { stream }) => void enter.run(JobState.RUNNING, positionOf(stream)),
      JobCompleted({ output, outputV1, log, completedAt, ran }, { stream }) {
        complete.run(output, outputV1, log, millis(completedAt), ranInText(ranInOf(ran)), positionOf(stream));
      },
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
  'output_v1',
  'log',
  'leave_lfs_pointers',
  'leave_submodules',
  'required_labels',
  'asked_place',
  'input_pointers',
  'is_check',
  'supersede',
  'code_paths',
  'code_digest',
  'secrets',
  'ran_in',
  'worker',
  'worker_name',
  'ran_from',
  'ran_until',
]
  .map((column) => `candidate.${column}`)
  .join(', ');

/** SQL that picks the candidates with the parameters whose digest is bound to both of its parameters. */
export const ofParameters =
  'substr(candidate.parameters_digest, 1, 12) = substr(?, 1, 12) AND candidate.parameters_digest = ?';

/** What the index has of where and when a candidate ran. */
export type RanRow = {
  readonly worker: string;
  readonly worker_name: string;
  readonly ran_from: number | null;
  readonly ran_until: number | null;
};

/** What the index has of a candidate; a row of the table `job` has nothing of where it ran. */
export type CandidateRow = FlagsRow &
  Partial<RanRow> & {
    readonly asked_place?: string;
    readonly input_pointers?: string;
    readonly is_check?: number;
    readonly supersede?: number;
    /** In a row of the table `job` it is another text, which only candidates have that do not match filters. */
    readonly secrets?: string | null;
    readonly ran_in?: string;
    readonly uuid: string;
    readonly owner: string;
    readonly state: JobState;
    readonly script_version: string;
    readonly code_paths?: string;
    readonly code_digest: string;
    readonly docker_image_locator: string;
    readonly arvados_sdk_version: string;
    readonly deleted: number;
    readonly output: string;
    readonly output_v1: string;
    readonly log: string;
    /** Of a row of the table `job` it is another text, which only candidates have that do not match filters. */
    readonly required_labels: string;
  };

/** Reads of the index. */
export function reuseQueries(db: Database.Database) {
  const ofDigest = 'substr(computation_digest, 1, 12) = substr(?, 1, 12) AND computation_digest = ?';
  const ofComputation = db.prepare(`
    SELECT candidate.position, ${candidateColumns}
    FROM candidate WHERE ${ofDigest} ORDER BY run_number`);
  const last = db
    .prepare(
      `SELECT max(coalesce((SELECT max(run_number) FROM candidate WHERE ${ofDigest}), 0),
        coalesce((SELECT max(last_run) FROM taken_run WHERE computation_digest = ?), 0))`,
    )
    .pluck();
  const checkpoint = db.prepare(checkpointOf([reuseIndex.name])).pluck();
  const losses = lossReader((sql) => db.prepare(sql));
  const candidates = (computationDigest: string): CandidateFacts[] =>
    factsWithLosses(ofComputation.all(computationDigest, computationDigest) as PlacedRow[], losses);
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
    /** Losses of the output and log of a job, oldest first. */
    losses: losses.of,
    /** Both, and the position of the log that they are of. */
    runs: (computationDigest: string) => runs(computationDigest),
  };
}

/** Where and when a candidate of the index ran, or runs. */
export function ranFromRow(row: Partial<RanRow> & Pick<CandidateRow, 'state'>): Ran | undefined {
  const { state, worker = '', worker_name: workerName = '', ran_from, ran_until } = row;
  if (worker === '') return undefined;
  const from = ran_from ?? 0;
  if (state === JobState.RUNNING) return { worker, workerName, from };
  return state === JobState.COMPLETE ? { worker, workerName, from, until: ran_until ?? 0 } : undefined;
}

/** A row of the index with its place in the order of age. */
type PlacedRow = CandidateRow & { readonly position: Position };

/** The facts in rows of the index, with where they were requested, and with what was lost where anything was of any job. */
export function factsWithLosses(
  rows: readonly PlacedRow[],
  losses: { any(): boolean; readonly of: LossesOf },
): CandidateFacts[] {
  const any = rows.length > 0 && losses.any();
  return rows.map((row) => {
    const facts = factsFromRow(row, row.position);
    return any ? withLosses(facts, row.position, losses.of) : facts;
  });
}

/** The facts of a job that was requested at a position, with what was lost of its output and log. */
export function withLosses<C extends CandidateFacts>(facts: C, requested: Position, of: LossesOf): C {
  const losses = of(facts);
  return { ...facts, requested, ...(losses.length > 0 && { losses }) };
}

/** The facts in a row of the index, or of the table `job`; without its position the rules on what was known when it was requested do not apply. */
export function factsFromRow(row: CandidateRow, requested?: Position): CandidateFacts {
  const ran = ranFromRow(row);
  const asked = askedOfText(row.asked_place ?? '');
  const ranIn = row.state === JobState.COMPLETE ? ranInOfText(row.ran_in ?? '') : undefined;
  const inputs = inputPointersOf(row.input_pointers ?? '');
  return {
    ...(ran && { ran }),
    ...(requested !== undefined && { requested }),
    uuid: row.uuid,
    owner: row.owner,
    state: row.state,
    scriptVersion: row.script_version,
    ...(row.code_paths && { codePaths: row.code_paths, codeDigest: row.code_digest }),
    dockerImageLocator: row.docker_image_locator,
    arvadosSdkVersion: row.arvados_sdk_version,
    ...flagsOf(row),
    deleted: row.deleted !== 0,
    output: row.output,
    ...(row.output_v1 !== '' && { outputV1: row.output_v1 }),
    log: row.log,
    ...(row.required_labels !== '' && { requiredLabels: row.required_labels }),
    ...(asked && { asked }),
    ...(ranIn && { ranIn }),
    ...(inputs && { inputs }),
    ...(row.is_check && { isCheck: true }),
    ...(row.supersede && { supersedes: true }),
    ...(row.secrets && { secrets: row.secrets }),
  };
}
