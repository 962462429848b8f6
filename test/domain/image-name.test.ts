import test from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../src/domain/errors.js';
import {
  checkImage,
  imageHash,
  imageSearch,
  isImageRepository,
  isImageTag,
  withTag,
} from '../../src/domain/image-name.js';

const digits = '0123456789abcdef'.repeat(4);
const hash = `sha256:${digits}`;

test('names of repositories are those of docker', (t) => {
  const good = [
    'a',
    'arvados/jobs',
    'a/b/c/d',
    'a.b_c__d-e--f',
    'localhost/a',
    'localhost:5000/a',
    'Registry.Example:5000/team/app',
    '127.0.0.1:5000/a',
    '0'.repeat(63),
    'a'.repeat(255),
  ];
  for (const text of good) t.true(isImageRepository(text), text);
  const bad = [
    '',
    'A',
    'a/B',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a.',
    'a..b',
    'a___b',
    '-a',
    'a-',
    '../a',
    'a/../b',
    'a b',
    'a\n',
    'a:5000',
    'a:b/c:d',
    'registry:port/a',
    'http://a/b',
    'a@b',
    'ü',
    digits,
    digits.toUpperCase(),
    'a'.repeat(256),
  ];
  for (const text of bad) t.false(isImageRepository(text), text);
});

test('tags are those of docker', (t) => {
  for (const text of ['latest', 'v1.0-rc_1', '_', 'A', '0', 'a'.repeat(128)]) t.true(isImageTag(text), text);
  for (const text of ['', '.a', '-a', 'a/b', 'a:b', 'a b', 'a\n', 'ä', 'a'.repeat(129)])
    t.false(isImageTag(text), text);
});

test('what a text asks for', (t) => {
  const cases: [text: string, parts: object | undefined][] = [
    [hash, { hash }],
    [digits, { hash }],
    [digits.toUpperCase(), { hash }],
    ['debian', { repository: 'debian' }],
    ['debian:12', { repository: 'debian', tag: '12' }],
    ['arvados/jobs:latest', { repository: 'arvados/jobs', tag: 'latest' }],
    ['localhost:5000/jobs', { repository: 'localhost:5000/jobs' }],
    ['localhost:5000/jobs:1', { repository: 'localhost:5000/jobs', tag: '1' }],
    [`jobs@${hash}`, { repository: 'jobs', hash }],
    [`a.b:1/jobs:2@${hash}`, { repository: 'a.b:1/jobs', tag: '2', hash }],
    [`sha256:${digits.slice(1)}`, { repository: 'sha256', tag: digits.slice(1) }],
    // No names, but may be locators.
    ['fa3c1a9cb6783f85f2ecda037e07b8c3+167', {}],
    ['Debian', {}],
    ['debian:', {}],
    ['debian:a:b', {}],
    [`jobs@${digits}`, {}],
    [`jobs@sha512:${digits}${digits}`, {}],
    [`jobs@${hash}@${hash}`, {}],
    [`@${hash}`, undefined],
    ['', undefined],
    ['-v', undefined],
    ['/debian', undefined],
    ['debian 12', undefined],
    ['debian\n', undefined],
    ['débian', undefined],
    ['a'.repeat(1_025), undefined],
  ];
  for (const [text, parts] of cases) t.deepEqual(imageSearch(text), parts && { locator: text, ...parts }, text);
});

test('a tag beside a name narrows it, and must not contradict it', (t) => {
  const search = { locator: 'debian', repository: 'debian' };
  t.deepEqual(withTag(search, '', 'f'), search);
  t.deepEqual(withTag(search, '12', 'f'), { ...search, tag: '12' });
  t.deepEqual(withTag({ ...search, tag: '12' }, '12', 'f'), { ...search, tag: '12' });
  t.throws(() => withTag({ ...search, tag: '12' }, '13', 'f'), {
    instanceOf: MemoirError,
    message: /f "13" is not the tag/,
  });
  t.throws(() => withTag(search, ' ', 'f'), { instanceOf: MemoirError, message: /f " " is no tag/ });
});

test('a checked image is found by each of its names, and its locator names no other', (t) => {
  const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const repository = fc.oneof(
    word,
    fc.tuple(word, word).map((parts) => parts.join('/')),
    word.map((w) => `r.x:5000/${w}`),
  );
  const tag = fc.oneof(fc.constant(''), fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}$/));
  const bytes = fc.stringMatching(/^[0-9a-f]{64}$/);
  const locator = fc.oneof(fc.constant(''), fc.string({ maxLength: 80 }), bytes, repository);
  fc.assert(
    fc.property(repository, tag, bytes, locator, (repository, tag, digits, locator) => {
      let image: ReturnType<typeof checkImage>;
      try {
        image = checkImage({ hash: digits, repository, tag, locator });
      } catch (error) {
        t.true(error instanceof MemoirError && error.field === 'locator', String(error));
        return;
      }
      t.is(imageHash(image.hash), image.hash);
      t.like(imageSearch(`${repository}@${image.hash}`), { repository, hash: image.hash });
      if (tag !== '') t.like(imageSearch(`${repository}:${tag}`), { repository, tag });
      const search = imageSearch(image.locator);
      t.is(search?.locator, image.locator);
      t.true(search?.repository === undefined || search.hash !== undefined, image.locator);
      if (search?.repository === undefined && search?.hash !== undefined) t.is(search.hash, image.hash);
    }),
  );
});
