import type { Filter } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { invalid, quote } from '../errors.js';
import { type Given, givenOf, givenText } from './given.js';

/** The attribute of lists that is no field of a job: who asked for it. */
export const requestedBy = 'requested_by';

/** Most principals of a filter, and longest name of one, in UTF-16 code units. */
const mostNames = 100;
const longestName = 256;

/** Whose requests a list is about: jobs that one of them requested, joined, or was answered with. Plain data. */
export type Requesters = {
  /** Place of the filter in the request, from 0. */
  readonly index: number;
  readonly names: readonly string[];
};

/**
 * Reads a filter on `requested_by`.
 * @throws MemoirError INVALID_ARGUMENT naming operator or operand if it is not `=` with a principal, or `in` with a list of them
 */
export function parseRequesters(index: number, { operator, operand }: Filter): Requesters {
  const place = `filters[${index}]`;
  if (operator !== '=' && operator !== 'in') {
    const why = `operator ${quote(operator)} is not for "${requestedBy}", which takes =, in`;
    throw invalid(`${place}.operator`, 'BAD_FILTER_OPERATOR', `${place}: ${why}`);
  }
  const given = givenOf(operand) ?? null;
  const wrong = (why: string) =>
    invalid(`${place}.operand`, 'BAD_FILTER_OPERAND', `${place}: operand ${why} (for "${requestedBy}" ${operator})`);
  if (operator === 'in' && !Array.isArray(given)) throw wrong(`${givenText(given)} is no list, and "in" takes one`);
  const all = (operator === 'in' ? given : [given]) as readonly Given[];
  if (all.length > mostNames) throw wrong(`is a list of ${all.length}, and ${mostNames} is the limit`);
  const names = all.map((name) => {
    if (typeof name !== 'string' || name === '') throw wrong(`${givenText(name)} is not the name of a principal`);
    if (name.length > longestName) throw wrong(`${quote(name, 60)} is longer than ${longestName} characters`);
    return name;
  });
  return { index, names: [...new Set(names)] };
}
