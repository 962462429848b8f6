import test from 'ava';
import fc from 'fast-check';
import picomatch from 'picomatch';
import { repositoryGlobs } from '../../../src/domain/repositories/repository-glob.js';
import { rounds } from '../../support/rounds.js';

const part = fc.stringMatching(/^[ab_-]([ab._-]{0,2}[ab_-])?$/);
const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const globPart = fc.oneof(
  fc.constantFrom('**', '*', '.'),
  part,
  // Three stars in a row are no part of what is documented.
  fc.stringMatching(/^[ab._?*-]{1,4}$/).filter((text) => !text.includes('***')),
);
const glob = fc.array(globPart, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));

test('globs mean what the globs of a policy mean', (t) => {
  fc.assert(
    fc.property(fc.array(glob, { minLength: 1, maxLength: 3 }), name, (globs, repository) => {
      const expected = picomatch(globs, { dot: true, nonegate: true })(repository);
      t.is(repositoryGlobs(globs)?.(repository), expected, `${globs.join(' ')} ${repository}`);
    }),
    { numRuns: rounds(800, 3_000) },
  );
});

test('what is more than a glob is none', (t) => {
  for (const text of ['', '{a,b}', '[ab]', 'a|b', '(a)', '!a', 'a\n', 'ä', 'a b', '\\w', '$', '^a']) {
    t.is(repositoryGlobs(['a', text]), undefined, text);
  }
});

test('the time to match grows with the lengths, not beyond', (t) => {
  const matches = repositoryGlobs([`${'*a'.repeat(127)}b`, `${'**/*a*/'.repeat(36)}b`]);
  const started = performance.now();
  for (let i = 0; i < 10; i++) {
    t.false(matches?.('a'.repeat(255)));
    t.false(matches?.('a/'.repeat(127)));
  }
  t.true(performance.now() - started < 5_000);
});
