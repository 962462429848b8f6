import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { lastingFields } from '../../src/domain/filters/field.js';

/** The position of the log that the views show, as SQL. A subquery of its own is run once for each statement. */
const at = '(SELECT position FROM temp.moment)';

const was = (position: string) => `${position} <= ${at}`;
const started = was('life.started');
/** Whether the job was queued again later, so that its turns tell when it ran. */
const turned = was('life.turned');
const finished = was('life.finished');
const reported = was('life.reported');
const changed = was('life.changed');
const deleted = was('life.deleted');

/** A column of the last sign of life, or of the last update, up to the position. */
const last = (table: 'job_report' | 'job_change', column: string) => `(
    SELECT ${column} FROM history.${table} WHERE job = now.position AND position <= ${at} ORDER BY position DESC LIMIT 1)`;

/** A text that stands in the row of the change that set it, whose position is in `pointer`. */
const text = (table: 'job_report' | 'job_change', column: string, pointer: string) => `(
    SELECT ${column} FROM history.${table} WHERE job = now.position AND position = ${last(table, pointer)})`;

/** A column of the last turn up to the position. */
const turn = (column: string) => `(
    SELECT ${column} FROM history.job_turn WHERE job = now.position AND position <= ${at} ORDER BY position DESC LIMIT 1)`;

/** A column of the last turn if it is a run of an attempt, and else another value. */
const running = (column: string, other: string) => turn(`iif(running, ${column}, ${other})`);

/** A column of the last sign of life of a job that turned: since its attempt began, or since its turn did. */
const lastOf = (column: string, since: 'begun' | 'position') => `(
    SELECT ${column} FROM history.job_report WHERE job = now.position AND position <= ${at} AND position > ${turn(since)}
    ORDER BY position DESC LIMIT 1)`;

/** A text of a job that turned, which stands in the row of the sign of life that set it. */
const textOf = (column: string, pointer: string) => `(
    SELECT ${column} FROM history.job_report WHERE job = now.position AND position = ${lastOf(pointer, 'begun')})`;

/** What is true of a lease: nothing while queued, else what the last sign of life of the turn says, else what its first event does. */
const ofLease = (column: string, ofTurn: string, none: string) =>
  `CASE WHEN ${turn('running')} THEN coalesce(${lastOf(column, 'position')}, ${turn(ofTurn)}) ELSE ${none} END`;

const state = `CASE WHEN ${finished} THEN now.state WHEN ${turned} THEN ${running(String(JobState.RUNNING), String(JobState.QUEUED))}
  WHEN ${started} THEN ${JobState.RUNNING} ELSE ${JobState.QUEUED} END`;

/** Number of the last attempt up to the position. */
const attempts = `CASE WHEN ${turned} THEN ${turn('number')} WHEN ${started} THEN 1 ELSE 0 END`;

/** What the events of a job leave as it is, and so what it was at any time. */
const lasting = ['position', 'request_digest', 'interest_id', 'inputs', 'code_paths', 'secrets', ...lastingFields];

/** What one event sets: from then on it is what it is now. */
const set = (condition: string, before: string, ...columns: string[]): Record<string, string> =>
  Object.fromEntries(columns.map((column) => [column, `CASE WHEN ${condition} THEN now.${column} ELSE ${before} END`]));

/** The columns of `job` at the position, where `now` is a row of it and `life` that of `job_life`. */
const jobColumns: Readonly<Record<string, string>> = {
  ...Object.fromEntries(lasting.map((column) => [column, `now.${column}`])),
  state,
  started_at: `CASE WHEN ${finished} THEN now.started_at WHEN ${turned} THEN ${running('started_at', 'NULL')}
    WHEN ${started} THEN life.started_at END`,
  claimed_by: `CASE WHEN ${finished} THEN now.claimed_by WHEN ${turned} THEN ${running('worker', "''")}
    WHEN ${started} THEN life.claimed_by ELSE '' END`,
  attempt_count: attempts,
  ...set(finished, 'NULL', 'finished_at', 'cancelled_at', 'output_size', 'log_size', 'ran'),
  ...set(finished, "''", 'output', 'output_v1', 'log', 'cancelled_by', 'failure_reason', 'failure_message'),
  priority: `CASE WHEN ${changed} THEN ${last('job_change', 'priority')} ELSE life.priority END`,
  interest_count: `CASE WHEN ${changed} THEN ${last('job_change', 'interest_count')} ELSE 1 END`,
  waiting_since: `CASE WHEN ${changed} THEN ${last('job_change', 'waiting_since')} END`,
  minima: `CASE WHEN ${changed} THEN ${last('job_change', 'minima')} END`,
  least_ram_mb: `CASE WHEN ${changed} THEN ${last('job_change', 'least_ram_mb')} ELSE 0 END`,
  description: `coalesce(CASE WHEN ${changed} THEN ${text('job_change', 'description', 'described')} END, life.description)`,
  components: `coalesce(CASE WHEN ${changed} THEN ${text('job_change', 'components', 'composed')} END, life.components)`,
  labels: `coalesce(CASE WHEN ${changed} THEN ${text('job_change', 'labels', 'labelled')} END, life.labels)`,
  tasks_summary: `CASE WHEN ${finished} THEN now.tasks_summary WHEN ${turned} THEN ${textOf('tasks_summary', 'summed')}
    WHEN ${reported} THEN ${text('job_report', 'tasks_summary', 'summed')} END`,
  progress: `CASE WHEN ${turned} THEN ${lastOf('progress', 'begun')} WHEN ${reported} THEN ${last('job_report', 'progress')} END`,
  progress_message: `coalesce(CASE WHEN ${turned} THEN ${textOf('progress_message', 'said')} WHEN ${reported} THEN ${text('job_report', 'progress_message', 'said')} END, '')`,
  lease_ms: `CASE WHEN ${finished} THEN 0 WHEN ${turned} THEN ${ofLease('lease_ms', 'lease_ms', '0')} WHEN ${reported} THEN ${last('job_report', 'lease_ms')}
    WHEN ${started} THEN life.lease_ms ELSE 0 END`,
  lease_expires_at: `CASE WHEN ${finished} THEN NULL
    WHEN ${turned} THEN ${ofLease('lease_expires_at', 'lease_expires_at', 'NULL')} WHEN ${reported} THEN ${last('job_report', 'lease_expires_at')}
    WHEN ${started} THEN life.started_at + life.lease_ms END`,
  lease_revision: `CASE WHEN ${finished} THEN -1 WHEN ${turned} THEN ${ofLease('revision', 'revision', '-1')} WHEN ${reported} THEN ${last('job_report', 'revision')}
    WHEN ${started} THEN life.started_revision ELSE -1 END`,
  revision: `max(
    CASE WHEN ${deleted} THEN life.deleted_revision WHEN ${finished} THEN life.finished_revision
      WHEN ${reported} THEN ${last('job_report', 'revision')} WHEN ${started} THEN life.started_revision ELSE 0 END,
    CASE WHEN ${turned} THEN ${turn('revision')} ELSE 0 END,
    CASE WHEN ${changed} THEN ${last('job_change', 'revision')} ELSE 0 END)`,
  deleted: `${deleted} IS TRUE`,
  // What it has or will have, by which jobs are found where it already had it.
  final_output: 'now.output',
  final_claimed_by: 'now.claimed_by',
};

/** What was known of the last attempt from its start on. */
const ofAttempt = (column: string) =>
  `(SELECT ${column} FROM main.attempt WHERE job = now.position AND number = ${attempts})`;

const candidateColumns: Readonly<Record<string, string>> = {
  position: 'now.position',
  uuid: 'now.uuid',
  computation_digest: 'now.computation_digest',
  run_number: 'now.run_number',
  parameters_digest: 'now.parameters_digest',
  owner: 'now.owner',
  state,
  script_version: 'now.script_version',
  docker_image_locator: 'now.docker_image_locator',
  arvados_sdk_version: 'now.arvados_sdk_version',
  nondeterministic: 'now.nondeterministic',
  leave_lfs_pointers: 'now.leave_lfs_pointers',
  leave_submodules: 'now.leave_submodules',
  required_labels: 'now.required_labels',
  asked_place: 'now.asked_place',
  input_pointers: 'now.input_pointers',
  is_check: 'now.is_check',
  supersede: 'now.supersede',
  code_paths: 'now.code_paths',
  code_digest: 'now.code_digest',
  secrets: 'now.secrets',
  deleted: `${deleted} IS TRUE`,
  ...set(finished, "''", 'output', 'output_v1', 'log', 'ran_in'),
  worker: `coalesce(${ofAttempt('worker')}, '')`,
  worker_name: `coalesce(${ofAttempt('worker_name')}, '')`,
  ran_from: ofAttempt('started_at'),
  ...set(finished, 'NULL', 'ran_until'),
};

/** An attempt of a job, `one`, as it was: its end by the turn that tells of it, if it was followed by another turn of the job. */
const turnOf = (column: string) => `(
    SELECT ${column} FROM history.job_turn WHERE job = one.job AND number = one.number AND position <= ${at}
    ORDER BY position DESC LIMIT 1)`;
/** Whether it ended with its job: of that the attempt alone has whose fault it was, and what it had made until then. */
const endedWithJob = `life.finished <= ${at} AND life.attempt = one.number AND ${turnOf('ended_at')} IS NULL`;
const attemptColumns: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['job', 'number', 'worker', 'worker_name', 'started_at'].map((column) => [column, `one.${column}`]),
  ),
  ended_at: turnOf('ended_at'),
  fault: `CASE WHEN ${endedWithJob} THEN one.fault ELSE coalesce(${turnOf('fault')}, 0) END`,
  output: `CASE WHEN ${endedWithJob} THEN one.output ELSE coalesce(${turnOf('output')}, '') END`,
  output_size: `CASE WHEN ${endedWithJob} THEN one.output_size ELSE ${turnOf('output_size')} END`,
  ...Object.fromEntries(['reason', 'message', 'log'].map((column) => [column, `coalesce(${turnOf(column)}, '')`])),
  ...Object.fromEntries(['log_size', 'ran'].map((column) => [column, turnOf(column)])),
};

const columns = (those: Readonly<Record<string, string>>) =>
  Object.entries(those)
    .map(([name, expression]) => `${expression} AS ${name}`)
    .join(', ');

/**
 * Rows with their lives. The sign keeps SQLite from going the other way round, through all lives: rows are to be found by the indexes
 * of the read model.
 */
const living = (table: string, by = '') =>
  `main.${table} AS now ${by} JOIN history.job_life AS life ON life.job = +now.position WHERE now.position <= ${at}`;

const lifted = `now.reinstated = 1 AND ${was('now.changed')}`;

/** View of the jobs that goes through them in the order of creation. */
export const jobsByCreation = 'job_by_creation';

/** View of the jobs that finds them by the index of uuids. */
export const jobsByUuid = 'job_by_uuid';

/**
 * SQL that makes views over the read model, to which the history is attached as `history`. They have the names of its tables, which
 * SQLite looks up among the temporary ones first, and show them as they were at the position in the table `moment`.
 */
export const asOfViews = `
  CREATE TEMP TABLE moment (position INTEGER NOT NULL);
  INSERT INTO temp.moment (position) VALUES (0);
  CREATE TEMP VIEW job AS SELECT ${columns(jobColumns)} FROM ${living('job')};
  CREATE TEMP VIEW ${jobsByCreation} AS SELECT ${columns(jobColumns)} FROM ${living('job', 'INDEXED BY job_created')};
  CREATE TEMP VIEW ${jobsByUuid} AS SELECT ${columns(jobColumns)} FROM ${living('job', 'INDEXED BY job_uuid')};
  CREATE TEMP VIEW attempt AS SELECT ${columns(attemptColumns)}
    FROM main.attempt AS one JOIN history.job_life AS life ON life.job = +one.job
    WHERE CASE WHEN life.turned IS NULL THEN life.started ELSE
      (SELECT min(position) FROM history.job_turn WHERE job = one.job AND number = one.number) END <= ${at};
  CREATE TEMP VIEW candidate AS SELECT ${columns(candidateColumns)} FROM ${living('candidate')};
  CREATE TEMP VIEW answered AS SELECT now.principal, now.job, now.labels, now.position, now.created_at, now.first
    FROM main.answered AS now WHERE now.position <= ${at};
  CREATE TEMP VIEW taken_run AS SELECT now.computation_digest, now.last_run FROM main.taken_run AS now
    WHERE now.position <= ${at};
  CREATE TEMP VIEW address AS SELECT now.key, now.gave, now.job FROM main.address AS now
    WHERE now.job <= ${at} AND (now.gave = 0 OR (SELECT finished FROM history.job_life WHERE job = now.job) <= ${at});
  CREATE TEMP VIEW projection AS SELECT now.name, ${at} AS position FROM main.projection AS now;
  CREATE TEMP VIEW product AS SELECT now.position, now.job FROM main.product AS now WHERE now.position <= ${at};
  CREATE TEMP VIEW exclusion AS
    SELECT now.position, now.id, now.repository, now.exclusion, iif(${lifted}, now.changed, now.position) AS changed,
      ${lifted} AS reinstated, iif(${lifted}, now.reinstated_reason, '') AS reinstated_reason
    FROM main.exclusion AS now WHERE now.position <= ${at};
  CREATE TEMP VIEW content AS SELECT * FROM main.content AS now WHERE now.position <= ${at};
  -- Who knew of it; which job gave it last is as it is now.
  CREATE TEMP VIEW content_giver AS SELECT now.hash, now.owner, now.repository, now.size, now.kind, now.job
    FROM main.content_giver AS now WHERE now.since <= ${at};
  CREATE TEMP VIEW content_loss AS
    SELECT now.position, now.hash, now.reason, now.missing, now.path, now.lost_at, iif(${was('now.found')}, now.found, NULL) AS found
    FROM main.content_loss AS now WHERE now.position <= ${at};
  CREATE TEMP VIEW image AS
    SELECT now.position, now.locator, now.hash, now.repository, now.tag, now.registered_at,
      iif(${was('now.forgotten')}, now.forgotten_at, NULL) AS forgotten_at
    FROM history.image_registration AS now WHERE now.position <= ${at} AND (${was('now.replaced')}) IS NOT TRUE;
`;
