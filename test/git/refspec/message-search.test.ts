import { spawnSync } from 'node:child_process';
import test from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { gitEnvironment, makeRepository } from '../../support/git-repository.js';

const messages = [
  'Start\n\nthe very first line',
  'Fix: parser crash on a+b',
  'Merge of things (see #42)',
  'Fix: naïve café handling',
  'say {hello} [world]',
  '!important change',
  'tab\tand $dollar^caret',
  'Fix: the last one',
];

const patterns = [
  ...[
    'Fix',
    '^Fix',
    'fix',
    'Fix: the',
    'crash.*a\\+b',
    '(Merge|Start)',
    '^Start.*line',
    'line\n',
    'line$',
    '[[:digit:]]+',
    '#[0-9]{2}',
  ],
  ...[
    '[^[:alnum:][:space:]:]',
    'ca(f|g)é',
    'n.{1,3}ve',
    '\\{hello\\}',
    '[]{}]',
    '[^]a-zA-Z ]',
    '\\$dollar',
    '\\^caret',
    'wor?l*d',
    'x{0,2}Start',
  ],
  ...[
    '!!important',
    '!-Fix',
    '!-zzz',
    '!-',
    'Fi{1}x',
    'a{,2}b',
    '\\bFix\\b',
    '\\w+\\s\\W*the',
    'nothing like it',
    'af',
    'é',
    'é h',
    '}',
    '-',
    'S(tar)+t',
    'a|b|c',
    '[a\\]',
    '.',
    ' ',
  ],
];

test('finds by message what git finds, in merges and from any ref', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  for (const [i, message] of messages.entries()) {
    if (i === 3) repository.git('checkout', '--quiet', '-b', 'side', 'main~2');
    if (i === 6) repository.git('checkout', '--quiet', 'main');
    repository.commit({ file: `${i}` }, message);
  }
  repository.git('merge', '--quiet', '-s', 'ours', '-m', 'Together', 'side');
  repository.git('tag', '-a', '-m', 'Fix: message of a tag, not of a commit', 'v1', 'side~1');
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  let found = 0;
  for (const pattern of patterns) {
    for (const text of [`:/${pattern}`, `main^{/${pattern}}`, `v1^{/${pattern}}`, `side~1^{/${pattern}}^{}`]) {
      if (text.includes('\n')) continue;
      const git = spawnSync('git', ['rev-parse', '--verify', '--quiet', text], {
        cwd: repository.path,
        env: gitEnvironment(),
        encoding: 'utf8',
      });
      const expected = git.status === 0 ? git.stdout.trim() : undefined;
      const actual = await repositories.resolve('r', text).catch((error: unknown) => {
        if (error instanceof MemoirError && error.reason === 'UNRESOLVABLE_REFSPEC') return undefined;
        throw error;
      });
      t.is(actual, expected, text);
      if (expected) found++;
    }
  }
  t.true(found > 50);
});

const refused = [
  '(',
  ')',
  'a)',
  '[a',
  '*',
  '+a',
  'a**',
  'a+?',
  '(?i)a',
  '\\d',
  '\\1',
  '(a)\\1',
  '[[.a.]]',
  'a{2,1}',
  'a{x',
  'a{',
  '\\',
  '\\<a',
  '!x',
  'a{1,99999}',
];

test('refuses patterns of which POSIX says nothing or that RE2 cannot do', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  repository.commit({ file: 'a' }, 'aaa');
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  for (const pattern of refused) {
    for (const text of [`:/${pattern}`, `main^{/${pattern}}`]) {
      const error = await t.throwsAsync(repositories.resolve('r', text), { instanceOf: MemoirError }, text);
      t.is(error?.reason, 'BAD_REFSPEC', text);
    }
  }
});

test('a pattern that would take a backtracking matcher for ever takes no time', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  repository.commit({ file: 'a' }, 'a'.repeat(20_000));
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const start = performance.now();
  await t.throwsAsync(repositories.resolve('r', ':/^(a+)+(a|aa)+(a|a?)+b$'));
  t.true(performance.now() - start < 5_000);
});
