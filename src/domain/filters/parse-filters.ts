import type { Value } from '@bufbuild/protobuf/wkt';
import type { Filter } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { invalid, type MemoirError, quote } from '../errors.js';
import type { CheckedFilters, JobFilter, NamedSet } from './filter.js';
import { type Given, givenOf, givenText, kindOfGiven } from './given.js';
import { parseAttribute } from './parse-attribute.js';
import { parseTest } from './parse-test.js';
import { parseRequesters, type Requesters, requestedBy } from './requesters.js';

/** Most filters of a request. */
const mostFilters = 64;

/** Most names of commits and images in all filters of a request. */
const mostNames = 100;

/** Longest name of a commit or image, in UTF-16 code units. */
const longestName = 4_096;

const sets: ReadonlyMap<string, readonly string[]> = new Map([
  ['in git', ['script_version', 'arvados_sdk_version']],
  ['not in git', ['script_version', 'arvados_sdk_version']],
  ['in docker', ['docker_image_locator']],
  ['not in docker', ['docker_image_locator']],
]);

/**
 * Checks the filters of a request and gives them their types. Commits and images are not looked up, but that a filter on commits
 * has the filters beside it that it needs is checked. In `lists` one may be on who requested jobs.
 * @throws MemoirError INVALID_ARGUMENT naming the first filter that is wrong by its index, and what is wrong by its value
 */
export function parseFilters(filters: readonly Filter[], lists = false): CheckedFilters {
  if (filters.length > mostFilters) {
    throw invalid('filters', 'TOO_MANY', `filters are ${filters.length}, and ${mostFilters} is the limit`);
  }
  const plain: JobFilter[] = [];
  const named: NamedSet[] = [];
  let requesters: Requesters | undefined;
  for (const [index, filter] of filters.entries()) {
    if (filter.attribute === requestedBy) {
      if (!lists) throw ofLists(index);
      if (requesters) throw twice(index, requesters.index);
      requesters = parseRequesters(index, filter);
      continue;
    }
    const parsed = parseFilter(index, filter);
    if ('names' in parsed) named.push(parsed);
    else plain.push(parsed);
  }
  const names = named.reduce((sum, set) => sum + set.names.length, 0);
  if (names > mostNames) {
    throw invalid('filters', 'TOO_MANY', `filters name ${names} commits and images, and ${mostNames} is the limit`);
  }
  const checked = { plain, sets: named, ...(requesters && { requesters }) };
  for (const set of named) placeOfCommits(set, checked);
  return checked;
}

function ofLists(index: number): MemoirError {
  const why = `attribute "${requestedBy}" is for lists of jobs and what they choose, not for the jobs that a request accepts`;
  return invalid(`filters[${index}].attribute`, 'BAD_FILTER_ATTRIBUTE', `filters[${index}]: ${why}`);
}

function twice(index: number, before: number): MemoirError {
  const why = `"${requestedBy}" is in filters[${before}] already; name several principals by in`;
  return invalid(`filters[${index}]`, 'FILTERS_CONFLICT', `filters[${index}]: ${why}`);
}

function parseFilter(index: number, { attribute, operator, operand }: Filter): JobFilter | NamedSet {
  const place = `filters[${index}]`;
  const target = parseAttribute(place, attribute);
  const given = parseOperand(place, operand);
  const text = `${printed(attribute)} ${operator} ${givenText(given)}`;
  const fields = sets.get(operator);
  if (!fields) {
    const { target: aimed, test } = parseTest({ place, attribute, operator, target, given });
    return { index, text, target: aimed, test };
  }
  const field = fields.find((name) => name === attribute) as NamedSet['field'] | undefined;
  if (!field) {
    const on = fields.join(' and ');
    const why = `operator ${quote(operator)} is for ${on}, not for ${quote(attribute)}`;
    throw invalid(`${place}.operator`, 'BAD_FILTER_OPERATOR', `${place}: ${why}`);
  }
  return { index, text, field, operator: operator as NamedSet['operator'], names: namesOf(place, operator, given) };
}

function parseOperand(place: string, operand: Value | undefined): Given {
  const given = givenOf(operand);
  if (given !== undefined) return given;
  throw invalid(
    `${place}.operand`,
    'BAD_FILTER_OPERAND',
    `${place}: operand is required; it is a string, number, boolean, null, or a list of them`,
  );
}

function namesOf(place: string, operator: string, given: Given): readonly string[] {
  const wrong = (why: string) => invalid(`${place}.operand`, 'BAD_FILTER_OPERAND', `${place}: operand ${why}`);
  const names = Array.isArray(given) ? given : [given];
  return names.map((name) => {
    if (typeof name !== 'string') {
      const kind = kindOfGiven(name);
      throw wrong(`${givenText(given)} holds ${kind}, and ${quote(operator)} takes a string or a list of strings`);
    }
    if (name === '') throw wrong(`${givenText(given)} holds an empty string, which names nothing`);
    if (name.length > longestName) throw wrong(`${quote(name)} is longer than ${longestName} characters`);
    return name;
  });
}

/**
 * The repository whose commits a filter on script_version is about: that of the filters `repository =`, which must agree. There
 * must be a filter `script =` too.
 * @throws MemoirError INVALID_ARGUMENT if one is missing, or if two give different values
 */
export function placeOfCommits({ index, text, field, operator }: NamedSet, { plain }: CheckedFilters): string {
  if (field !== 'script_version') return 'arvados';
  const given = (name: string): string => {
    const values = plain.flatMap(({ target, test, ...filter }) =>
      target.of === 'field' && target.field === name && test.is === 'one of' && !test.negate && test.exact === true
        ? [{ index: filter.index, value: String(test.values[0] ?? '') }]
        : [],
    );
    const [first] = values;
    if (first === undefined || first.value === '') throw needs(index, text, name, operator);
    const other = values.find(({ value }) => value !== first.value);
    if (other !== undefined) throw conflict(index, name, first, other);
    return first.value;
  };
  const repository = given('repository');
  given('script');
  return repository;
}

type Valued = { readonly index: number; readonly value: string };

function needs(index: number, text: string, name: string, operator: string): MemoirError {
  const why = `${quote(operator)} on script_version needs a filter ${name} = beside it`;
  return invalid(`filters[${index}]`, 'FILTER_NEEDS_ANOTHER', `filters[${index}]: ${text}: ${why}`);
}

function conflict(index: number, name: string, one: Valued, other: Valued): MemoirError {
  const values = `${quote(one.value)} in filters[${one.index}] and ${quote(other.value)} in filters[${other.index}]`;
  const why = `its ${name} cannot be both ${values}`;
  return invalid(`filters[${index}]`, 'FILTERS_CONFLICT', `filters[${index}]: ${why}`);
}

function printed(attribute: string): string {
  return /^[\w.-]{1,100}$/.test(attribute) ? attribute : quote(attribute, 100);
}
