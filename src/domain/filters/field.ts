import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { RetryPolicySchema, TimeLimitsSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import {
  type Job,
  JobSchema,
  JobState,
  RuntimeConstraintsSchema,
  TasksSummarySchema,
} from '../../../gen/memoir/jobs/v1/job_pb.js';
import { RanSchema } from '../../../gen/memoir/jobs/v1/ran_pb.js';

/** What a field without parts holds. */
export type ScalarKind = 'text' | 'number' | 'boolean' | 'time' | 'state';

/** A field of Job. Those of kind `message` have a fixed set of parts, those of kind `tree` whatever the job gave them. */
export type JobField = {
  /** Name as the proto spells it, which is also the name of its column. */
  readonly name: string;
  readonly kind: ScalarKind | 'message' | 'tree';
  /** Name of the property in a message. */
  readonly property: string;
  /** Parts of a message, by their names as the proto spells them, those of its parts after a dot: `image.locator`. */
  readonly members?: ReadonlyMap<string, Member>;
};

/** A part of a field that is a message. */
export type Member = {
  readonly name: string;
  readonly kind: 'text' | 'number';
  /** Name of the property in a message, and in its JSON; of parts of parts with dots between. */
  readonly property: string;
  /** True where a message without the part means zero, rather than that the part is absent. */
  readonly zero: boolean;
  /** True of a duration, whose number is that of its seconds. */
  readonly duration: boolean;
};

const messages: ReadonlyMap<string, DescMessage> = new Map(
  [RuntimeConstraintsSchema, TasksSummarySchema, RetryPolicySchema, TimeLimitsSchema, RanSchema].map((schema) => [
    schema.typeName,
    schema,
  ]),
);

function fieldOf(field: DescField): JobField {
  const { name, localName: property } = field;
  if (field.fieldKind === 'enum') return { name, property, kind: 'state' };
  if (field.fieldKind === 'map') return { name, property, kind: 'tree' };
  if (field.fieldKind === 'scalar') return { name, property, kind: scalarKind(field.scalar) };
  if (field.fieldKind !== 'message') throw new Error(`Job.${name} is of a kind that filters do not know`);
  if (field.message.typeName === 'google.protobuf.Timestamp') return { name, property, kind: 'time' };
  const schema = messages.get(field.message.typeName);
  if (!schema) return { name, property, kind: 'tree' };
  return {
    name,
    property,
    kind: 'message',
    members: new Map(schema.fields.flatMap(membersOf).map((part) => [part.name, part])),
  };
}

/** A part, or the parts of a part that is itself a message. */
function membersOf(part: DescField): readonly Member[] {
  if (part.fieldKind !== 'message' || part.message.typeName === DurationSchema.typeName) return [memberOf(part)];
  return part.message.fields.flatMap(membersOf).map((inner) => ({
    ...inner,
    name: `${part.name}.${inner.name}`,
    property: `${part.localName}.${inner.property}`,
  }));
}

function memberOf({ name, localName: property, ...field }: DescField): Member {
  const text = field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING;
  const duration = field.fieldKind === 'message' && field.message.typeName === DurationSchema.typeName;
  const zero = !text && !duration && !field.proto.proto3Optional;
  return { name, property, kind: text ? 'text' : 'number', zero, duration };
}

function scalarKind(type: ScalarType): ScalarKind {
  if (type === ScalarType.STRING) return 'text';
  return type === ScalarType.BOOL ? 'boolean' : 'number';
}

/** Fields that are no part of the rows by which jobs are found: what tells of an answer, and who waits and what ran. */
export const unfilteredFields: readonly string[] = [
  'script_parameters_omitted',
  'damaged',
  'interest_count',
  'waiting_since',
  'interests',
  'attempts',
  'minima',
  'output_digest',
  'log_digest',
  'inputs',
  'keeping',
  'code_paths',
  'secrets',
];

/** The fields of Job by name. They are read from the contract, so that a field that is added there can be filtered by. */
export const jobFields: ReadonlyMap<string, JobField> = new Map(
  JobSchema.fields.filter(({ name }) => !unfilteredFields.includes(name)).map((field) => [field.name, fieldOf(field)]),
);

/** Names of the fields that stay as they are from the moment in which a job is requested. */
export const lastingFields: ReadonlySet<string> = new Set([
  'uuid',
  'owner',
  'repository',
  'script',
  'script_version',
  'supplied_script_version',
  'script_parameters',
  'submit_id',
  'nondeterministic',
  'leave_lfs_pointers',
  'leave_submodules',
  'require_output',
  'runtime_constraints',
  'docker_image_locator',
  'arvados_sdk_version',
  'created_at',
  'run_number',
  'computation_digest',
  'required_labels',
  'retry',
  'limits',
  'retry_of',
  'check_of',
  'code_digest',
  'supersede',
  'unhashed_parameters',
]);

/** Names of the fields that "any" looks at. */
export const textFields: readonly string[] = [...jobFields.values()]
  .filter(({ kind }) => kind === 'text')
  .map(({ name }) => name);

/** The states by each of their names. */
export const stateByName: ReadonlyMap<string, JobState> = new Map(
  [JobState.QUEUED, JobState.RUNNING, JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED].flatMap((state) => {
    const name = JobState[state];
    return [
      [`JOB_STATE_${name}`, state],
      [name.charAt(0) + name.slice(1).toLowerCase(), state],
    ] as const;
  }),
);

/** The value of a property that is named by a field or member. */
export function propertyOf(message: Job | object, property: string): unknown {
  return (message as Record<string, unknown>)[property];
}
