import { type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { type Job, JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type JsonDifference, jsonDifferences } from './json-differences.js';

/** What a field of a job is about. */
export type Part = 'request' | 'resolution' | 'run';

/** The fields of a job that are compared. */
export const comparedFields: ReadonlyMap<string, Part> = new Map<string, Part>([
  ...fields(
    'request',
    'repository script script_parameters unhashed_parameters nondeterministic runtime_constraints require_output code_paths',
    'leave_lfs_pointers leave_submodules secrets required_labels retry limits priority labels description supersede',
  ),
  ...fields(
    'resolution',
    'supplied_script_version script_version code_digest docker_image_locator arvados_sdk_version',
  ),
  ...fields(
    'run',
    'state failure_reason failure_message cancelled_by claimed_by ran components tasks_summary script_parameters_omitted damaged',
  ),
]);

/** Those that are not: what every job has of its own, what is told apart, and what changes while it runs. */
export const otherFields: ReadonlySet<string> = new Set(
  [
    'uuid owner submit_id run_number computation_digest retry_of check_of created_at started_at finished_at cancelled_at revision',
    'output log output_v1 output_digest log_digest inputs attempts attempt_count keeping',
    'lease_expires_at progress progress_message interest_count waiting_since interests minima',
  ].flatMap((names) => names.split(' ')),
);

function fields(part: Part, ...names: string[]): [string, Part][] {
  return names.flatMap((line) => line.split(' ')).map((name) => [name, part]);
}

/** A field of two jobs that differs, and where in it. */
export type FieldDifference = JsonDifference & { readonly part: Part; readonly field: string };

/** In what the fields of two jobs differ, in the order of the fields above; undefined in between, as of `jsonDifferences`. */
export function* fieldDifferences(a: Job, b: Job): Generator<FieldDifference | undefined, void> {
  const [its, others] = [jsonOf(a), jsonOf(b)];
  for (const [field, part] of comparedFields) {
    for (const difference of jsonDifferences(its[field], others[field])) {
      yield difference && { part, field, ...difference };
    }
  }
}

/** The fields of a job as JSON, sets by what names their members. */
function jsonOf(job: Job): JsonObject {
  const { attempts: _, interests: __, ...rest } = job;
  const json = toJson(
    JobSchema,
    { ...rest, attempts: [], interests: [] },
    {
      useProtoFieldName: true,
      alwaysEmitImplicit: true,
    },
  ) as JsonObject;
  const byName = (entries: readonly (readonly [string, JsonValue])[]): JsonObject => Object.fromEntries(entries);
  return {
    ...json,
    secrets: byName(job.secrets.map(({ name, grant }) => [name, grant])),
    code_paths: byName(job.codePaths.map((path) => [path, path])),
  };
}
