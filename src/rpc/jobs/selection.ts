import type { FieldMask } from '@bufbuild/protobuf/wkt';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { invalid, quote } from '../../domain/errors.js';
import { jobFields, propertyOf } from '../../domain/filters/field.js';

/** Most paths of a selection. */
const mostPaths = 200;

/** Which fields of jobs an answer has. */
export type Selection = {
  /** Names of the fields of which any part is wanted; undefined for all. */
  readonly fields: readonly string[] | undefined;
  /** Takes out of a job what was not selected. */
  readonly apply: (job: Job) => Job;
};

const everything: Selection = { fields: undefined, apply: (job) => job };

/**
 * Reads a field mask: names of fields, and parts of runtime_constraints and tasks_summary. Absent or without paths it selects all.
 * @throws MemoirError INVALID_ARGUMENT for `select` naming a path that is none
 */
export function parseSelection(mask: FieldMask | undefined): Selection {
  const paths = mask?.paths ?? [];
  if (paths.length === 0) return everything;
  if (paths.length > mostPaths) {
    throw invalid('select', 'TOO_MANY', `select has ${paths.length} paths, and ${mostPaths} is the limit`);
  }
  const wanted = new Map<string, Set<string> | 'whole'>([['uuid', 'whole']]);
  for (const path of paths) select(path, wanted);
  return { fields: [...wanted.keys()], apply: (job) => prune(job, wanted) };
}

function select(path: string, wanted: Map<string, Set<string> | 'whole'>): void {
  const [name = '', member, ...deeper] = path.split('.');
  const field = jobFields.get(name);
  if (!field) throw invalid('select', 'BAD_PATH', `select: ${quote(path)} is not a field of a job`);
  if (member === undefined) {
    wanted.set(name, 'whole');
    return;
  }
  const part = field.members?.get(member);
  if (!part || deeper.length > 0) {
    const parts = field.members
      ? `; its parts are ${[...field.members.keys()].join(', ')}`
      : ', which is selected whole';
    throw invalid('select', 'BAD_PATH', `select: ${quote(path)} is not a part of ${name}${parts}`);
  }
  const before = wanted.get(name) ?? new Set<string>();
  if (before !== 'whole') wanted.set(name, before.add(part.property));
}

/** Fields of any parts that may be absent. */
const optionalTrees: ReadonlySet<string> = new Set(['script_parameters', 'unhashed_parameters']);

function prune(job: Job, wanted: ReadonlyMap<string, ReadonlySet<string> | 'whole'>): Job {
  const left = job as unknown as Record<string, unknown>;
  for (const { name, property, kind, members } of jobFields.values()) {
    const parts = wanted.get(name);
    if (parts === 'whole') continue;
    const value = propertyOf(job, property);
    if (parts && value !== undefined) {
      const message = value as Record<string, unknown>;
      for (const { property: part, kind: partKind, zero } of members?.values() ?? []) {
        if (parts.has(part)) continue;
        if (zero || partKind === 'text') message[part] = partKind === 'text' ? '' : 0;
        else delete message[part];
      }
    } else if (kind === 'text') left[property] = '';
    else if (kind === 'boolean') left[property] = false;
    else if (kind === 'tree' && !optionalTrees.has(name)) left[property] = {};
    else if (kind === 'state' || (kind === 'number' && name !== 'progress')) left[property] = 0;
    else delete left[property];
  }
  return job;
}
