import { create, fromJson, type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RetryPolicySchema, TimeLimitsSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Input, InputSchema } from '../../gen/memoir/jobs/v1/input_pb.js';
import {
  type Job,
  JobSchema,
  type JobState,
  RuntimeConstraintsSchema,
  TasksSummarySchema,
} from '../../gen/memoir/jobs/v1/job_pb.js';
import { type Secret, SecretSchema } from '../../gen/memoir/jobs/v1/secret_pb.js';
import { codePathsOf } from '../../src/domain/code/code-paths.js';
import { keptDigests } from '../../src/domain/outputs/digest.js';
import { ranOfText } from './attempts.js';
import { type FlagsRow, flagsOf } from './flags.js';
import { tellWaiting, type WaitingRow } from './interests.js';

type Labels = Record<string, string>;

/** A row of the table `job`. */
export type JobRow = FlagsRow &
  WaitingRow & {
    readonly interest_id: Buffer | string | null;
    readonly position: number;
    readonly uuid: string;
    readonly owner: string;
    readonly repository: string;
    readonly script: string;
    readonly script_version: string;
    readonly supplied_script_version: string;
    readonly code_digest: string;
    readonly script_parameters: string;
    readonly state: JobState;
    readonly priority: number;
    readonly submit_id: string;
    readonly request_digest: string;
    readonly runtime_constraints: string | null;
    readonly docker_image_locator: string;
    readonly arvados_sdk_version: string;
    readonly output: string;
    readonly log: string;
    readonly output_v1: string;
    readonly output_size: number | null;
    readonly log_size: number | null;
    readonly ran: string | null;
    readonly tasks_summary: string | null;
    readonly components: string;
    readonly labels: string;
    readonly required_labels: string;
    readonly attempt_count: number;
    /** They are in no list of some fields of jobs. */
    readonly retry?: string | null;
    readonly limits?: string | null;
    readonly retry_of?: string;
    readonly check_of?: string;
    readonly inputs?: string | null;
    readonly code_paths?: string;
    readonly secrets?: string | null;
    readonly supersede: number;
    readonly unhashed_parameters: string | null;
    readonly description: string;
    readonly created_at: number;
    readonly started_at: number | null;
    readonly finished_at: number | null;
    readonly cancelled_at: number | null;
    readonly cancelled_by: string;
    readonly claimed_by: string;
    readonly lease_expires_at: number | null;
    readonly lease_ms: number;
    readonly lease_revision: number;
    readonly run_number: number;
    readonly computation_digest: string;
    readonly revision: number;
    readonly failure_reason: string;
    readonly failure_message: string;
    readonly progress: number | null;
    readonly progress_message: string;
    readonly deleted: number;
    readonly require_output: number;
  };

/** The job that a row holds. */
export function jobFromRow(row: JobRow): Job {
  const job = create(JobSchema, {
    uuid: row.uuid,
    owner: row.owner,
    repository: row.repository,
    script: row.script,
    scriptVersion: row.script_version,
    suppliedScriptVersion: row.supplied_script_version,
    codePaths: codePathsOf(row.code_paths ?? ''),
    codeDigest: row.code_digest,
    scriptParameters: JSON.parse(row.script_parameters) as JsonObject,
    state: row.state,
    priority: row.priority,
    submitId: row.submit_id,
    ...flagsOf(row),
    requireOutput: row.require_output !== 0,
    supersede: row.supersede !== 0,
    dockerImageLocator: row.docker_image_locator,
    arvadosSdkVersion: row.arvados_sdk_version,
    output: row.output,
    log: row.log,
    outputV1: row.output_v1,
    ...keptDigests(row),
    components: JSON.parse(row.components) as Labels,
    labels: JSON.parse(row.labels) as Labels,
    requiredLabels: JSON.parse(row.required_labels) as Labels,
    attemptCount: row.attempt_count,
    retryOf: row.retry_of ?? '',
    checkOf: row.check_of ?? '',
    description: row.description,
    createdAt: timestampFromMs(row.created_at),
    cancelledBy: row.cancelled_by,
    claimedBy: row.claimed_by,
    runNumber: row.run_number,
    computationDigest: row.computation_digest,
    revision: row.revision,
    failureReason: row.failure_reason,
    failureMessage: row.failure_message,
    progressMessage: row.progress_message,
  });
  if (row.runtime_constraints) {
    job.runtimeConstraints = fromJson(RuntimeConstraintsSchema, JSON.parse(row.runtime_constraints));
  }
  if (row.tasks_summary) job.tasksSummary = fromJson(TasksSummarySchema, JSON.parse(row.tasks_summary));
  if (row.ran) job.ran = ranOfText(row.ran);
  if (row.retry) job.retry = fromJson(RetryPolicySchema, JSON.parse(row.retry));
  if (row.limits) job.limits = fromJson(TimeLimitsSchema, JSON.parse(row.limits));
  if (row.inputs) job.inputs = (JSON.parse(row.inputs) as JsonValue[]).map((one) => fromJson(InputSchema, one));
  if (row.secrets) job.secrets = (JSON.parse(row.secrets) as JsonValue[]).map((one) => fromJson(SecretSchema, one));
  if (row.unhashed_parameters) job.unhashedParameters = JSON.parse(row.unhashed_parameters) as JsonObject;
  if (row.started_at !== null) job.startedAt = timestampFromMs(row.started_at);
  if (row.finished_at !== null) job.finishedAt = timestampFromMs(row.finished_at);
  if (row.cancelled_at !== null) job.cancelledAt = timestampFromMs(row.cancelled_at);
  if (row.lease_expires_at !== null) job.leaseExpiresAt = timestampFromMs(row.lease_expires_at);
  if (row.progress !== null) job.progress = row.progress;
  tellWaiting(job, row);
  return job;
}

/** Secrets as a row holds them; null for none. */
export function secretsJson(secrets: readonly Secret[]): string | null {
  return secrets.length === 0 ? null : JSON.stringify(secrets.map((secret) => toJson(SecretSchema, secret)));
}

/** Inputs as a row holds them; null for none. */
export function inputsText(inputs: readonly Input[]): string | null {
  return inputs.length === 0 ? null : JSON.stringify(inputs.map((input) => toJson(InputSchema, input)));
}
