import { type Duration, durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../errors.js';
import { stateName } from '../job.js';
import { compareText } from './compare-text.js';
import { jobFields, propertyOf, textFields } from './field.js';
import type { JobFilter, Scalar, Target, Test } from './filter.js';
import { likeMatcher } from './like.js';

/** Whether a value passes a test. Undefined is an absent value; objects and lists are values of script_parameters. */
export type ValueTest = (value: unknown) => boolean;

/**
 * Makes a test of values. What filters mean is told here; the queries of the read model agree with it. `goOn` is called in the midst of what
 * takes long; what it throws ends it.
 */
export function valueTest(test: Test, goOn?: () => void): ValueTest {
  switch (test.is) {
    case 'present':
      return (value) => (value !== undefined) === test.present;
    case 'one of': {
      const values = new Set<unknown>(test.values);
      return (value) => values.has(value ?? null) !== test.negate;
    }
    case 'like': {
      const matches = likeMatcher(test.pattern, goOn);
      return (value) => typeof value === 'string' && matches(value);
    }
    case 'holding': {
      const { value: part } = test;
      return (value) => {
        if (Array.isArray(value)) return value.includes(part);
        return typeof value === 'string' && typeof part === 'string' && value.includes(part);
      };
    }
    default: {
      const { is, value: bound } = test;
      return (value) => {
        if (typeof value !== typeof bound) return false;
        const order =
          typeof bound === 'string' ? compareText(value as string, bound) : Math.sign((value as number) - bound);
        if (order === 0) return is === '<=' || is === '>=';
        return order < 0 === (is === '<' || is === '<=');
      };
    }
  }
}

/** What a target is in a job; undefined if it is absent. Fields of text that are empty are absent. */
export function targetValue(target: Target, job: Job): unknown {
  switch (target.of) {
    case 'field': {
      const value = propertyOf(job, target.property);
      if (target.kind === 'time') return value === undefined ? undefined : timestampMs(value as Timestamp);
      return value === '' ? undefined : value;
    }
    case 'member': {
      const message = propertyOf(job, target.property);
      if (message === undefined) return undefined;
      const value = valueAt(message, target.member.split('.'));
      if (target.duration) return value && Math.round(durationMs(value as Duration)) / 1_000;
      if (typeof value === 'bigint') return Number(value);
      return value === '' ? undefined : value;
    }
    case 'path':
      return valueAt(propertyOf(job, target.property), target.path);
    case 'whole':
      return propertyOf(job, target.property);
    case 'any':
      return undefined;
  }
}

/** What stands at a path in a JSON value: names of members, and places from 0 in lists; undefined if there is nothing. */
export function valueAt(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const name of path) {
    if (value === null || typeof value !== 'object') return undefined;
    if (Array.isArray(value) ? !/^(0|[1-9]\d{0,8})$/.test(name) : !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** Makes the condition that a filter puts on jobs. */
export function jobTest({ target, test }: Pick<JobFilter, 'target' | 'test'>): (job: Job) => boolean {
  const passes = valueTest(test);
  if (target.of !== 'any') return (job) => passes(targetValue(target, job));
  const properties = textFields.map((name) => jobFields.get(name)?.property ?? name);
  return (job) =>
    properties.some((property) => {
      const value = propertyOf(job, property);
      return value !== '' && passes(value);
    });
}

/**
 * Makes what tells the first filter that a job does not match, with the values compared, for people; undefined if it matches all.
 */
export function filterFailure(filters: readonly JobFilter[]): (job: Job) => string | undefined {
  const tests = filters.map((filter) => ({ filter, matches: jobTest(filter) }));
  return (job) => {
    const failed = tests.find(({ matches }) => !matches(job));
    return failed && explain(failed.filter, job);
  };
}

function explain({ index, text, target, why }: JobFilter, job: Job): string {
  const place = `filters[${index}]: ${text}`;
  if (why !== undefined) return `${place}: ${why}`;
  if (target.of === 'any') return `${place}: none of its text fields does`;
  const value = targetValue(target, job);
  return `${place}: ${value === undefined ? 'it has none' : `its value is ${printed(target, value)}`}`;
}

function printed(target: Target, value: unknown): string {
  if (target.of === 'field' && target.kind === 'time') return new Date(value as number).toISOString();
  if (target.of === 'field' && target.kind === 'state') return stateName(value as Job['state']);
  if (typeof value === 'string') return quote(value, 100);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value as Scalar);
}
