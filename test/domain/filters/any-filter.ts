import { type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type Job, JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { jobFields } from '../../../src/domain/filters/field.js';
import { filterFromTriple } from '../../../src/domain/filters/from-triple.js';
import { parseFilters } from '../../../src/domain/filters/parse-filters.js';
import { plain, type Triple } from './naive.js';

/**
 * Random filters whose attributes and operands are such as occur in these jobs, so that a good part of them matches some. None is
 * refused, and none is on commits or images by their names.
 */
export function anyFilterOf(jobs: readonly Job[]): fc.Arbitrary<Triple> {
  const values = new Map<string, JsonValue[]>();
  for (const job of jobs) {
    const { retry, limits } = plain(job);
    const seconds = { ...(retry && { retry }), ...(limits && { limits }) };
    collect('', { ...(toJson(JobSchema, job, { useProtoFieldName: true }) as JsonObject), ...seconds }, values);
  }
  const attributes = [...new Set([...jobFields.keys(), ...values.keys(), 'any', 'script_parameters.nowhere.at.all'])];
  return fc
    .constantFrom(...attributes)
    .chain((attribute) => {
      const known = values.get(attribute) ?? [...values.values()].flat();
      const scalars = known.filter((value) => value === null || typeof value !== 'object');
      const one = fc.oneof({ weight: 5, arbitrary: fc.constantFrom<JsonValue>('', 0, ...scalars) }, noise);
      return fc.tuple(fc.constant(attribute), fc.constantFrom(...operators), one, fc.array(one, { maxLength: 4 }));
    })
    .chain(([attribute, operator, one, several]) =>
      operandOf(operator, one, several).map((operand): Triple => [attribute, operator, operand]),
    )
    .filter(isAccepted);
}

const operators = ['=', '!=', '<', '<=', '>', '>=', 'like', 'ilike', 'contains', 'in', 'not in', 'exists'];

const noise: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constantFrom<JsonValue>(
    null,
    true,
    false,
    0,
    -1,
    1e21,
    0.1,
    'a',
    '%',
    '\u{1f600}',
    '\0',
    'Queued',
    'JOB_STATE_FAILED',
  ),
  fc.constantFrom('2026-01-02T12:00:00Z', '2026-01-02T12:30:00.0005Z'),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
);

function operandOf(operator: string, one: JsonValue, several: JsonValue[]): fc.Arbitrary<JsonValue> {
  if (operator === 'in' || operator === 'not in') return fc.constant([...several, one]);
  if (operator === 'exists') return fc.oneof(fc.boolean(), fc.constant(typeof one === 'string' ? one : 'n'));
  const text = typeof one === 'string' ? one : 'x';
  if (operator === 'like' || operator === 'ilike') return patternOf(text);
  if (operator === 'contains') {
    return fc.oneof(
      fc.constant(one),
      fc.nat(3).map((from) => [...text].slice(from, from + 2).join('')),
    );
  }
  return fc.constant(one);
}

/** Patterns that a text matches, or nearly. */
function patternOf(text: string): fc.Arbitrary<JsonValue> {
  const escaped = [...text].map((character) => (/[%_\\]/.test(character) ? `\\${character}` : character));
  return fc.tuple(fc.array(fc.constantFrom('', '', '%', '_', 'x')), fc.boolean()).map(([changes, upper]) => {
    const changed = escaped.map((character, i) => changes[i] || character).join('');
    return (upper ? changed.toUpperCase() : changed) + (changes[escaped.length] ?? '');
  });
}

function isAccepted(triple: Triple): boolean {
  try {
    parseFilters([filterFromTriple(triple)]);
    return true;
  } catch {
    return false;
  }
}

function collect(prefix: string, value: JsonValue, into: Map<string, JsonValue[]>): void {
  if (prefix !== '') {
    const known = into.get(prefix) ?? [];
    into.set(prefix, [...known, value]);
  }
  if (value === null || typeof value !== 'object') return;
  for (const [name, member] of Object.entries(value)) {
    const part = /^[\p{L}\p{M}\p{N}_-]+$/u.test(name) ? name : JSON.stringify(name);
    collect(prefix === '' ? part : `${prefix}.${part}`, member as JsonValue, into);
  }
}
