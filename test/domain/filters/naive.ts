import { type JsonValue, toJson } from '@bufbuild/protobuf';
import {
  type Job,
  JobSchema,
  JobState,
  RuntimeConstraintsSchema,
  TasksSummarySchema,
} from '../../../gen/memoir/jobs/v1/job_pb.js';

/** A filter as a triple. */
export type Triple = readonly [attribute: string, operator: string, operand: JsonValue];

const shape = new Map(JobSchema.fields.map((field) => [field.name, field]));

/**
 * Whether a job matches a filter, told as plainly as docs/filters.md does and without regard to speed: by the job's JSON with the
 * names of the proto. Knows no operators on commits and images.
 */
export function naiveMatch(job: Job, [attribute, operator, operand]: Triple): boolean {
  const json = plain(job);
  if (attribute === 'any') {
    return [...shape.values()].some(({ name, fieldKind, ...field }) => {
      const isText = fieldKind === 'scalar' && typeof json[name] === 'string' && 'scalar' in field;
      return isText && json[name] !== '' && test(json[name], operator, operand);
    });
  }
  const path = [...attribute.matchAll(/"(?:[^"\\]|\\.)*"|[^.]+/gsu)].map(([part]) =>
    part.startsWith('"') ? (JSON.parse(part) as string) : part,
  );
  if (operator === 'exists' && typeof operand === 'string') return at(json, [...path, operand]) !== undefined;
  const value = at(json, path);
  const field = shape.get(attribute);
  // A field of text that is empty is absent.
  const isText = path.length === 1 || attribute.startsWith('runtime_constraints.');
  const known = isText && value === '' ? undefined : value;
  if (field?.fieldKind === 'enum') return test(known, operator, states(operand));
  if (field?.fieldKind === 'message' && field.message.name === 'Timestamp')
    return time(known as string, operator, operand);
  return test(
    known,
    operator,
    isText && !operator.endsWith('like') && operator !== 'contains' ? noText(operand) : operand,
  );
}

/** With its durations as numbers of seconds. */
function inSeconds(parts: Record<string, JsonValue>): JsonValue {
  const number = (value: JsonValue) => (typeof value === 'string' ? Number(value.slice(0, -1)) : value);
  return Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, number(value)]));
}

/** The job's JSON in which everything that has a zero value has it, but for what is absent. */
export function plain(job: Job): Record<string, JsonValue | undefined> {
  const options = { useProtoFieldName: true, alwaysEmitImplicit: true };
  const json = toJson(JobSchema, job, options) as Record<string, JsonValue | undefined>;
  if (job.runtimeConstraints)
    json.runtime_constraints = toJson(RuntimeConstraintsSchema, job.runtimeConstraints, options);
  if (job.tasksSummary) json.tasks_summary = toJson(TasksSummarySchema, job.tasksSummary, options);
  for (const name of ['retry', 'limits'])
    if (json[name]) json[name] = inSeconds(json[name] as Record<string, JsonValue>);
  return json;
}

function at(json: unknown, path: readonly string[]): JsonValue | undefined {
  let value = json as JsonValue | undefined;
  for (const name of path) {
    if (value === null || typeof value !== 'object') return undefined;
    if (Array.isArray(value)) value = value.find((_, i) => String(i) === name);
    else value = Object.entries(value).find(([key]) => key === name)?.[1];
  }
  return value;
}

function noText(operand: JsonValue): JsonValue {
  if (Array.isArray(operand)) return operand.map(noText);
  return operand === '' ? null : operand;
}

function states(operand: JsonValue): JsonValue {
  if (Array.isArray(operand)) return operand.map(states);
  if (typeof operand !== 'string' || operand.startsWith('JOB_STATE_')) return operand;
  return `JOB_STATE_${JobState[JobState[operand.toUpperCase() as 'QUEUED']]}`;
}

function time(value: string | undefined, operator: string, operand: JsonValue): boolean {
  const nanos = (text: string) => {
    const [, whole, fraction = ''] = /^([^.]*?)(?:\.(\d+))?Z$/.exec(text) ?? [];
    return BigInt(Date.parse(`${whole}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
  };
  const of = (one: JsonValue): JsonValue => (typeof one === 'string' ? String(nanos(one)).padStart(30, '0') : one);
  return test(value && of(value), operator, Array.isArray(operand) ? operand.map(of) : of(operand));
}

function test(value: JsonValue | undefined, operator: string, operand: JsonValue): boolean {
  const equals = (one: JsonValue) => (one === null ? value === undefined || value === null : one === value);
  switch (operator) {
    case '=':
      return equals(operand);
    case '!=':
      return !equals(operand);
    case 'in':
      return (operand as JsonValue[]).some(equals);
    case 'not in':
      return !(operand as JsonValue[]).some(equals);
    case 'exists':
      return (value !== undefined) === operand;
    case 'contains':
      if (Array.isArray(value)) return value.some((member) => member === operand);
      return typeof value === 'string' && typeof operand === 'string' && value.indexOf(operand) !== -1;
    case 'like':
    case 'ilike':
      return typeof value === 'string' && pattern(operand as string, operator === 'ilike')(value);
    default: {
      if (value === undefined || typeof value !== typeof operand) return false;
      const bytes = (one: JsonValue) => Buffer.from(String(one));
      const order =
        typeof value === 'number' ? value - (operand as number) : Buffer.compare(bytes(value), bytes(operand));
      return { '<': order < 0, '<=': order <= 0, '>': order > 0, '>=': order >= 0 }[operator] ?? false;
    }
  }
}

function pattern(text: string, fold: boolean): (value: string) => boolean {
  const lower = (one: string) =>
    fold ? [...one].map((c) => ([...c.toLowerCase()].length === 1 ? c.toLowerCase() : c)).join('') : one;
  const source = [...lower(text).matchAll(/\\[\s\S]|[\s\S]/gu)].map(([token]) => {
    if (token === '%') return '[\\s\\S]*';
    if (token === '_') return '[\\s\\S]';
    return `\\u{${[...token].at(-1)?.codePointAt(0)?.toString(16)}}`;
  });
  const regex = new RegExp(`^${source.join('')}$`, 'u');
  return (value) => regex.test(lower(value));
}
