import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { type Code, codeDigest } from '../../../src/domain/code/code-digest.js';
import {
  checkScriptInCode,
  codePathsOf,
  codePathsText,
  isInside,
  mostCodePaths,
  normalCodePaths,
} from '../../../src/domain/code/code-paths.js';
import { MemoirError } from '../../../src/domain/errors.js';
import { requirementsOf, unmetBy } from '../../../src/domain/placement/requirements.js';
import { fitsShape, shapeKey, shapeOf, shapeOfKey } from '../../../src/domain/placement/shape.js';

test('code paths are made normal, in the order of their bytes', (t) => {
  const cases: [given: string[], normal: string[]][] = [
    [['lib'], ['lib']],
    [
      ['./lib/', 'analysis//a'],
      ['analysis/a', 'lib'],
    ],
    [['.'], ['.']],
    [['./'], ['.']],
    [
      ['.gitattributes', 'a b', '-x', ':(top)'],
      ['-x', '.gitattributes', ':(top)', 'a b'],
    ],
    // In UTF-16 the second comes first.
    [
      ['\u{1f600}', '\uff5e'],
      ['\uff5e', '\u{1f600}'],
    ],
    // What only begins alike is not inside.
    [
      ['lib', 'lib2', 'lib.sh'],
      ['lib', 'lib.sh', 'lib2'],
    ],
    [
      ['e\u0301', '\u00e9'],
      ['e\u0301', '\u00e9'],
    ],
  ];
  for (const [given, normal] of cases) {
    t.deepEqual(normalCodePaths(given), normal);
    t.deepEqual(normalCodePaths(normal), normal);
    t.deepEqual(codePathsOf(codePathsText(normal)), normal);
  }
  t.is(codePathsText([]), '');
  t.deepEqual(codePathsOf(''), []);
});

test('what cannot be code paths is refused with the path', (t) => {
  const cases: [given: string[], message: RegExp][] = [
    [[''], /^code_paths\[0\] "" is no path/],
    [['a', '/etc'], /^code_paths\[1\] "\/etc" is no path inside a tree/],
    [['a/../b'], /^code_paths\[0\] "a\/\.\.\/b" is no path inside/],
    [['..'], /is no path inside/],
    [['a\0b'], /^code_paths\[0\] "a\\u0000b" is no path inside/],
    [['\ud800'], /is not UTF-8/],
    [['lib', './lib/'], /^code_paths\[1\] ".\/lib\/" comes twice/],
    [['lib/a', 'lib'], /^code_paths\[0\] "lib\/a" is inside "lib", which is named too/],
    [['lib', '.'], /^code_paths\[0\] "lib" is inside "\."/],
    [['x'.repeat(4_097)], /has 4097 bytes, and 4096 is the limit/],
  ];
  for (const [given, message] of cases) {
    const error = t.throws(() => normalCodePaths(given), { instanceOf: MemoirError, message }) as MemoirError;
    t.is(error.reason, 'BAD_CODE_PATH');
    t.regex(error.field ?? '', /^code_paths\[\d\]$/);
  }
  const many = Array.from({ length: mostCodePaths + 1 }, (_, i) => `p${i}`);
  t.is(
    (t.throws(() => normalCodePaths(many), { message: /names 65 paths, and 64/ }) as MemoirError).reason,
    'TOO_MANY',
  );
  t.is(normalCodePaths(many.slice(1)).length, mostCodePaths);
});

test('whatever is named comes out normal or is refused, whatever its order', (t) => {
  const part = fc.constantFrom('a', 'b', 'ab', '.', '..', '', 'é');
  const paths = fc.array(
    fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(paths, (given) => {
      const told = (those: string[]) => {
        try {
          return JSON.stringify(normalCodePaths(those));
        } catch (error) {
          return (error as MemoirError).reason;
        }
      };
      const normal = told(given);
      t.is(told(given.toReversed()), normal);
      if (!normal.startsWith('[')) return;
      const those = JSON.parse(normal) as string[];
      for (const one of those) for (const other of those) if (one !== other) t.false(isInside(one, other));
      for (const one of those) t.regex(`/${one}/`, /^\/(\.|[^/]+(\/[^/]+)*)\/$/);
    }),
  );
  t.pass();
});

test('a script is in the code paths of its request', (t) => {
  for (const paths of [['run.sh'], ['.'], ['bin', 'run.sh'], ['lib', 'run.sh']]) {
    t.notThrows(() => checkScriptInCode('run.sh', paths));
  }
  t.notThrows(() => checkScriptInCode('bin/a/run.sh', ['bin']));
  for (const [script, path] of [
    ['run.sh', 'bin'],
    ['bin2/run.sh', 'bin'],
    ['bin', 'bin/run.sh'],
  ] as const) {
    const error = t.throws(() => checkScriptInCode(script, [path]), { instanceOf: MemoirError });
    t.like(error, { reason: 'SCRIPT_NOT_IN_CODE_PATHS', field: 'script' });
    t.true(error?.message.includes(`"${script}" is not in code_paths ("${path}")`));
  }
});

test('code digests are those of the page of the documentation', (t) => {
  const page = readFileSync(new URL('../../../../docs/code.md', import.meta.url), 'utf8');
  const vectors = [...page.matchAll(/^\{"entries":.*\}\n([0-9a-f]{64})$/gm)];
  t.true(vectors.length >= 3);
  for (const [text = '', digest] of vectors) {
    const { entries, object_format: objectFormat } = JSON.parse(text.split('\n')[0] as string) as {
      entries: [string, string, string][];
      object_format: Code['objectFormat'];
    };
    t.is(
      codeDigest({ objectFormat, entries: entries.map(([path, mode, oid]) => ({ path, mode, oid })) }),
      digest ?? '',
    );
  }
});

test('jobs with code paths are for workers that check out no more', (t) => {
  const asking = { repository: 'r', dockerImageLocator: '', requiredLabels: {} };
  const whole = requirementsOf({ ...asking, codePaths: [] });
  const part = requirementsOf({ ...asking, codePaths: ['lib'] });
  t.deepEqual(whole, requirementsOf(asking));
  for (const wanted of [whole, part]) t.deepEqual(shapeOfKey(shapeKey(wanted)), shapeOf(wanted));
  t.not(shapeKey(part), shapeKey(whole));
  const offer = { cores: 1, ramMb: 0n, scratchMb: 0n, imageRuntimes: [], platform: '', sandbox: '', labels: {} };
  const [older, newer] = [false, true].map(
    (codePaths) => ({ ...offer, codePaths }) as unknown as Parameters<typeof unmetBy>[0],
  );
  for (const without of [older, undefined]) {
    t.deepEqual(unmetBy(without, part), [{ wanted: 'the checkout of code paths alone', offered: 'none' }]);
    t.is(fitsShape(without, shapeOf(part)), 'none');
    t.deepEqual(unmetBy(without, whole), []);
  }
  t.deepEqual(unmetBy(newer, part), []);
  t.is(fitsShape(newer, shapeOf(part)), 'all');
});
