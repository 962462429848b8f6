import { invalid, type MemoirError, quote } from '../errors.js';
import { jobFields, type ScalarKind, stateByName } from './field.js';
import type { Scalar, Target, Test } from './filter.js';
import { type Given, givenText, kindOfGiven } from './given.js';
import { parseLike } from './like.js';
import { parseTimestamp } from './timestamp.js';

/** Most members of a list. */
const longestList = 1_000;

/** Longest text of an operand, and longest pattern, in UTF-16 code units. */
const longestText = 65_536;
const longestPattern = 1_024;

/** A filter that is being read. */
export type Reading = {
  /** Such as `filters[2]`. */
  readonly place: string;
  readonly attribute: string;
  readonly operator: string;
  readonly target: Target;
  readonly given: Given;
};

/** What values a target can have; `json` are all those of a path in script_parameters. */
type Kind = ScalarKind | 'json' | 'whole' | 'any';

const ordered = ['<', '<=', '>', '>='];
const equal = ['=', '!=', 'in', 'not in', 'exists'];
const textual = ['like', 'ilike', 'contains'];

const operators: Readonly<Record<Kind, readonly string[]>> = {
  text: [...equal, ...ordered, ...textual],
  number: [...equal, ...ordered],
  time: [...equal, ...ordered],
  boolean: equal,
  state: equal,
  json: [...equal, ...ordered, ...textual],
  whole: ['=', '!=', 'exists'],
  any: textual,
};

/**
 * Reads operator and operand. `exists` with the name of a member moves the target to that member.
 * @throws MemoirError INVALID_ARGUMENT naming operator or operand if the target has no such operator, or the operator takes no
 * such operand
 */
export function parseTest(reading: Reading): { readonly target: Target; readonly test: Test } {
  const { place, attribute, operator, target, given } = reading;
  const kind = kindOf(target);
  if (!operators[kind].includes(operator)) {
    const known = Object.values(operators).some((names) => names.includes(operator));
    const why = known ? `is not for ${quote(attribute)}, which takes` : 'is unknown; the attribute takes';
    const list = operators[kind].join(', ');
    throw invalid(
      `${place}.operator`,
      'BAD_FILTER_OPERATOR',
      `${place}: operator ${quote(operator)} ${why} ${list}${git(attribute)}`,
    );
  }
  if (operator === 'exists') return parseExists(reading);
  return { target, test: testOf(reading, kind, operator, given) };
}

function git(attribute: string): string {
  if (attribute === 'docker_image_locator') return ', in docker, not in docker';
  return attribute === 'script_version' || attribute === 'arvados_sdk_version' ? ', in git, not in git' : '';
}

function kindOf(target: Target): Kind {
  if (target.of === 'path') return 'json';
  return target.of === 'field' || target.of === 'member' ? target.kind : target.of;
}

function testOf(reading: Reading, kind: Kind, operator: string, given: Given): Test {
  switch (operator) {
    case '=':
    case '!=':
      return {
        is: 'one of',
        values: [scalarOf(reading, kind, given)],
        negate: operator === '!=',
        exact: operator === '=',
      };
    case 'in':
    case 'not in': {
      if (!Array.isArray(given))
        throw wrongOperand(reading, `${givenText(given)} is no list, and "${operator}" takes one`);
      if (given.length > longestList) {
        throw wrongOperand(reading, `is a list of ${given.length}, and ${longestList} is the limit`);
      }
      return { is: 'one of', values: given.map((one) => scalarOf(reading, kind, one)), negate: operator === 'not in' };
    }
    case '<':
    case '<=':
    case '>':
    case '>=': {
      const value = scalarOf(reading, kind, given);
      if (typeof value !== 'string' && typeof value !== 'number') {
        throw wrongOperand(reading, `${givenText(given)} has no order`);
      }
      return { is: operator, value };
    }
    case 'like':
    case 'ilike':
      return { is: 'like', pattern: patternOf(reading, operator === 'ilike') };
    default:
      return { is: 'holding', value: partOf(reading, kind, given) };
  }
}

function scalarOf(reading: Reading, kind: Kind, given: Given): Scalar {
  if (given === null) return null;
  const no = (takes: string) => wrongOperand(reading, `${givenText(given)} ${takes}`);
  switch (kind) {
    case 'text':
      // A field without a text is empty.
      return textOf(reading, given) || null;
    case 'number':
      return numberOf(reading, given);
    case 'boolean':
      if (typeof given !== 'boolean') throw no('is not true or false');
      return given;
    case 'time': {
      const time = typeof given === 'string' ? parseTimestamp(given) : undefined;
      if (time === undefined) throw no('is not an RFC 3339 timestamp such as "2026-01-31T12:00:00Z"');
      return time;
    }
    case 'state': {
      const state = typeof given === 'string' ? stateByName.get(given) : undefined;
      if (state === undefined) throw no('is not a state: Queued, Running, Complete, Failed or Cancelled');
      return state;
    }
    case 'json':
      if (typeof given === 'string') return textOf(reading, given);
      if (typeof given === 'number') return numberOf(reading, given);
      if (typeof given === 'boolean') return given;
      throw no('is not a string, number, boolean or null');
    default:
      throw no('is not null; compare its parts one by one');
  }
}

function textOf(reading: Reading, given: Given): string {
  if (typeof given !== 'string')
    throw wrongOperand(reading, `${givenText(given)} is ${kindOfGiven(given)}, not a string`);
  if (given.length > longestText) {
    throw wrongOperand(reading, `${quote(given, 60)} is longer than ${longestText} characters`);
  }
  if (!given.isWellFormed()) throw wrongOperand(reading, `${quote(given)} holds a lone surrogate`);
  return given;
}

function numberOf(reading: Reading, given: Given): number {
  if (typeof given !== 'number')
    throw wrongOperand(reading, `${givenText(given)} is ${kindOfGiven(given)}, not a number`);
  if (!Number.isFinite(given)) throw wrongOperand(reading, `${given} is not a JSON number`);
  return given;
}

function patternOf(reading: Reading, fold: boolean) {
  const { given } = reading;
  const text = textOf(reading, given);
  if (text.length > longestPattern) {
    throw wrongOperand(reading, `${quote(text, 60)} is longer than ${longestPattern} characters`);
  }
  const pattern = parseLike(text, fold);
  if (pattern) return pattern;
  throw wrongOperand(reading, `${quote(text)} ends with "\\", which has to stand before a character`);
}

function partOf(reading: Reading, kind: Kind, given: Given): string | number | boolean {
  if (kind !== 'json') return textOf(reading, given);
  const part = scalarOf(reading, 'json', given);
  if (part === null) throw wrongOperand(reading, 'null cannot be held by anything');
  return part;
}

function parseExists(reading: Reading): { readonly target: Target; readonly test: Test } {
  const { target, given } = reading;
  if (typeof given === 'boolean') return { target, test: { is: 'present', present: given } };
  const wrong = (why: string) => wrongOperand(reading, `${givenText(given)} ${why}`);
  if (typeof given !== 'string') throw wrong('is neither true or false nor the name of a member');
  const name = textOf(reading, given);
  return { target: memberOf(target, name, wrong), test: { is: 'present', present: true } };
}

function memberOf(target: Target, name: string, wrong: (why: string) => Error): Target {
  if (target.of === 'path' && target.field !== 'components') return { ...target, path: [...target.path, name] };
  if (target.of !== 'whole') throw wrong('is not true or false, and the attribute has no members');
  const field = jobFields.get(target.field);
  if (!field?.members) return { of: 'path', field: target.field, property: target.property, path: [name] };
  const member = field.members.get(name);
  if (!member) throw wrong(`is not a part of ${field.name}; these are: ${[...field.members.keys()].join(', ')}`);
  const { kind, zero, duration } = member;
  return { ...target, of: 'member', member: member.property, kind, zero, duration };
}

function wrongOperand({ place, operator, attribute }: Reading, why: string): MemoirError {
  const after = `for ${quote(attribute, 60)} ${operator}`;
  return invalid(`${place}.operand`, 'BAD_FILTER_OPERAND', `${place}: operand ${why} (${after})`);
}
