import type { JsonObject } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { differencesOf } from '../../../src/domain/near-misses/differences.js';
import { leavesOf, mostLeaves, nearKeys } from '../../../src/domain/near-misses/leaves.js';
import { rounds } from '../../support/rounds.js';

test('leaves are scalars and what is empty, by their pointers', (t) => {
  const leaves = leavesOf({ n: 3, 'a/b': { '~': [true, null] }, none: {}, list: [], text: 'ü' });
  t.deepEqual(
    new Map([...leaves].sort()),
    new Map([
      ['/a~1b/~0/0', 'true'],
      ['/a~1b/~0/1', 'null'],
      ['/list', '[]'],
      ['/n', '3'],
      ['/none', '{}'],
      ['/text', '"ü"'],
    ]),
  );
  t.is(leavesOf({}).size, 0);
});

const value = fc.constantFrom<JsonObject[string]>(1, 2, 'x', true, null, [], [1, 2], { m: 1 });
const parameters = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), value);
const keysOf = (given: JsonObject) => nearKeys('weather', 'run.sh', leavesOf(given));
const texts = (keys: readonly Buffer[]) => keys.map((key) => key.toString('hex'));

test('jobs have a key in common if their parameters differ in one leaf, and else none', (t) => {
  const none = { scriptVersion: '', codeDigest: '', dockerImageLocator: '', arvadosSdkVersion: '' };
  fc.assert(
    fc.property(parameters, parameters, (one, other) => {
      const [a, b] = [leavesOf(one), leavesOf(other)];
      const own = new Set(texts(keysOf(one).near));
      const shared = texts(keysOf(other).near).some((key) => own.has(key));
      const rest = (of: typeof a, than: typeof a) => [...of].filter(([pointer, leaf]) => than.get(pointer) !== leaf);
      // One leaf of each may be another, or one may have one more.
      t.is(shared, rest(a, b).length <= 1 && rest(b, a).length <= 1);
      const differences = differencesOf({ ...none, leaves: a }, { ...none, leaves: b });
      if (differences.length <= 1) t.true(shared);
      t.is(differences.length === 0, JSON.stringify([...a].sort()) === JSON.stringify([...b].sort()));
    }),
    { numRuns: rounds(300, 10_000) },
  );
});

test('jobs of another script share no key, and of too many leaves that of the script alone', (t) => {
  const { near, script } = keysOf({ n: 1 });
  const other = nearKeys('weather', 'other.sh', leavesOf({ n: 1 }));
  t.is(new Set(texts([...near, script, ...other.near, other.script])).size, 6);
  const many = keysOf(Object.fromEntries(Array.from({ length: mostLeaves + 1 }, (_, i) => [`p${i}`, i])));
  t.deepEqual(many.near, []);
  t.deepEqual(many.script, script);
});
