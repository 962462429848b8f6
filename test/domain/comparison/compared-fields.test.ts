import { create, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { comparedFields, fieldDifferences, otherFields } from '../../../src/domain/comparison/compared-fields.js';
import { jsonDifferences, longestPointer } from '../../../src/domain/comparison/json-differences.js';
import { rounds } from '../../support/rounds.js';

test('every field of a job is compared, or left out on purpose', (t) => {
  const fields = JobSchema.fields.map(({ name }) => name);
  t.deepEqual([...comparedFields.keys(), ...otherFields].sort(), fields.sort());
});

const names = fc.constantFrom('a', 'b', '~', '/', '', '__proto__');
const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<JsonValue>(null, true, false, 0, 1, 'x', 'y', ''),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(names, tie('value'), { maxKeys: 3 }),
  ),
}));
const object = fc.dictionary(names, value, { maxKeys: 4 }) as fc.Arbitrary<JsonObject>;

const differing = (a: JsonValue, b: JsonValue) => [...jsonDifferences(a, b)].flatMap((one) => (one ? [one] : []));

/** What a pointer leads to, by the letter of RFC 6901. */
function at(root: JsonValue, pointer: string): JsonValue | undefined {
  let here: JsonValue | undefined = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (here === null || typeof here !== 'object' || !Object.hasOwn(here, key)) return undefined;
    here = (here as JsonObject)[key];
  }
  return here;
}

test('differences are where their pointers lead, and are all there are', (t) => {
  fc.assert(
    fc.property(object, object, (a, b) => {
      const found = differing(a, b);
      for (const one of found) {
        t.deepEqual([at(a, one.pointer), at(b, one.pointer)], [one.a, one.b]);
        t.not(canonicalize(one.a), canonicalize(one.b), one.pointer);
      }
      t.is(found.length === 0, canonicalize(a) === canonicalize(b));
      t.deepEqual(
        differing(b, a).map(({ pointer }) => pointer),
        found.map(({ pointer }) => pointer),
      );
      t.deepEqual(differing(a, structuredClone(a)), []);
    }),
    { numRuns: rounds(200, 5_000) },
  );
});

test('long names are not repeated for all that is below them', (t) => {
  const long = 'k'.repeat(1_000_000);
  const below = (n: number) => ({
    [long]: Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`m${i}`, i + n])),
  });
  const found = differing(below(0), below(1));
  t.is(found.length, 2_000);
  t.true(found.every(({ pointer }) => pointer.length === longestPointer + 1));
});

test('the fields of two jobs are compared by what names their parts', (t) => {
  const one = create(JobSchema, {
    uuid: 'one',
    owner: 'ada',
    scriptParameters: { n: 3, deep: { list: [1, 2] } },
    secrets: [
      { name: 'KEY', grant: 'g1' },
      { name: 'OLD', grant: 'g' },
    ],
    codePaths: ['lib'],
    labels: { team: 'x' },
    priority: 2,
  });
  const other = create(JobSchema, {
    uuid: 'other',
    owner: 'bob',
    scriptParameters: { n: 4, deep: { list: [1, 2, 5] } },
    secrets: [{ name: 'KEY', grant: 'g2' }],
    codePaths: ['lib', 'src/x'],
    dockerImageLocator: 'image:1',
    failureReason: 'X',
  });
  const told = [...fieldDifferences(one, other)].flatMap((found) =>
    found ? [[found.part, found.field + found.pointer, found.a, found.b]] : [],
  );
  t.deepEqual(told, [
    ['request', 'script_parameters/deep/list/2', undefined, 5],
    ['request', 'script_parameters/n', 3, 4],
    ['request', 'code_paths/src~1x', undefined, 'src/x'],
    ['request', 'secrets/KEY', 'g1', 'g2'],
    ['request', 'secrets/OLD', 'g', undefined],
    ['request', 'priority', 2, 0],
    ['request', 'labels/team', 'x', undefined],
    ['resolution', 'docker_image_locator', '', 'image:1'],
    ['run', 'failure_reason', '', 'X'],
  ]);
});
