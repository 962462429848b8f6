import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../src/domain/errors.js';
import { openRepositories } from '../../src/git/repositories.js';
import { histories, writeHistory } from '../support/git-history.js';
import { makeRepository, type TestRepository } from '../support/git-repository.js';
import { rounds } from '../support/rounds.js';

/** What git makes of many refspecs, in one process: the object each names, undefined for none. */
function askGit({ gitWithInput }: TestRepository, texts: readonly string[]): (string | undefined)[] {
  const output = gitWithInput(`${texts.join('\n')}\n`, 'cat-file', '--batch-check=%(objecttype) %(objectname)');
  return output.split('\n').map((line) => /^commit ([0-9a-f]+)$/.exec(line)?.[1]);
}

/** Refspecs that end in a commit, such that git and Memoir must agree on them. */
function refspecs(names: readonly string[]): fc.Arbitrary<string> {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom('~', '^', '^0', '~0', '~1', '~2', '~3', '~17', '^1', '^2', '^3', '^4', '^9'),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        '^{}',
        '^{commit}',
        '^{object}',
        '^{tag}',
        '^{/}',
        '^{/}}',
        '^{/}x}',
        '^{/Commit 1}',
        '^{/[02468]$}',
        '^{/!-Commit 1}',
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom('~~', '^^', '~2147483647', '^{tree}', '^{blob}', '^{x}', '~4294967297') },
  );
  return fc
    .tuple(fc.constantFrom(...names), fc.array(step, { maxLength: 5 }))
    .map(([name, steps]) => `${name}${steps.join('')}^{commit}`);
}

/** Names of every kind, many of which mean several things: a branch like a hash, a tag like a branch, a remote, a symbolic ref. */
function addNames(repository: TestRepository, ids: readonly string[]): string[] {
  const { git } = repository;
  const at = (i: number) => ids[i % ids.length] ?? '';
  const refs = [
    'refs/heads/dir/leaf',
    'refs/tags/dir/leaf',
    'refs/heads/both',
    'refs/tags/both',
    'refs/remotes/origin/main',
    'refs/notes/x',
  ];
  refs.push(
    `refs/heads/${at(3).slice(0, 7)}`,
    `refs/heads/${at(4)}`,
    'refs/heads/heads/main',
    'refs/both',
    'refs/heads/v1-2-gabcdef',
    'refs/tags/日本',
  );
  for (const [i, ref] of refs.entries()) git('update-ref', ref, at(i * 7));
  git('symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/main');
  git('symbolic-ref', 'refs/heads/alias', 'refs/heads/both');
  git('symbolic-ref', 'refs/heads/dangling', 'refs/heads/nowhere');
  git('symbolic-ref', 'HEAD', 'refs/heads/both');
  git('tag', '-a', '-m', 'x', 'annotated', at(1));
  git('tag', '-a', '-m', 'x', 'nested', 'annotated');
  git('tag', '-a', '-m', 'x', 'of-tree', `${at(2)}^{tree}`);
  git('update-ref', 'ORIG_HEAD', at(5));
  const hashes = ids
    .slice(0, 12)
    .flatMap((id) => [
      id,
      id.toUpperCase(),
      id.slice(0, 4),
      id.slice(0, 5),
      id.slice(0, 9),
      `v2-7-g${id.slice(0, 8)}`,
      `x-g${id.slice(0, 6)}`,
    ]);
  const tag = git('rev-parse', 'nested');
  return [
    ...refs,
    ...refs.map((ref) => ref.replace(/^refs\/(heads|tags|remotes)\//, '')),
    ...refs.map((ref) => ref.replace(/^refs\//, '')),
    ...[
      'origin',
      'alias',
      'dangling',
      'HEAD',
      '@',
      'annotated',
      'nested',
      'of-tree',
      'ORIG_HEAD',
      'FETCH_HEAD',
      'c0',
      'heads/c1',
      'tags/nested',
      'nothing',
    ],
    ...hashes,
    ...[tag, tag.slice(0, 8), 'f'.repeat(40), 'ffff', 'config', 'refs/heads', 'dir', 'dir/leaf/', '日本', 'c0.lock'],
  ];
}

/** Searches from all refs, among commits many of which have the same date. */
const searches = [
  'Commit',
  '1',
  '2$',
  '[13579]$',
  '[^1]$',
  'Commit [0-9]$',
  '!-Commit',
  '!-[02468]',
  '7|8',
  '^Commit 1',
].map((text) => `:/${text}`);

async function agree(t: ExecutionContext, repository: TestRepository, texts: readonly string[]): Promise<number> {
  const repositories = await openRepositories({ r: { path: repository.path } });
  const expected = askGit(repository, texts);
  let found = 0;
  try {
    for (const [i, text] of texts.entries()) {
      const actual = await repositories.resolve('r', text).catch((error: unknown) => {
        if (error instanceof MemoirError && error.code === 'INVALID_ARGUMENT') return undefined;
        throw error;
      });
      if (actual !== expected[i]) t.is(actual, expected[i], text);
      if (actual !== undefined) found++;
    }
  } finally {
    await repositories.close();
  }
  return found;
}

/** Histories of each form, with 1,000 refspecs each. */
const runs = rounds(2, 6);

for (const packed of [false, true]) {
  test(`refspecs name what git says they name: ${packed ? 'packed' : 'loose'}`, async (t) => {
    let found = 0;
    for (const [run, history] of fc.sample(histories(60), { numRuns: runs, seed: packed ? 21 : 22 }).entries()) {
      const repository = makeRepository({ bare: true });
      t.teardown(repository.dispose);
      const names = addNames(repository, writeHistory(repository, history));
      if (packed) {
        repository.git('repack', '-adq');
        repository.git('pack-refs', '--all');
      }
      const texts = fc.sample(refspecs(names), { numRuns: 1_000, seed: run });
      found += await agree(t, repository, [...names.map((name) => `${name}^{commit}`), ...texts, ...searches]);
    }
    t.true(found > 250 * runs, `${found} were found`);
    t.log(`${found} found`);
  });
}

test('no text at all makes it fail otherwise than by refusing, and what it accepts git accepts', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(repository.dispose);
  const [history = []] = fc.sample(histories(30), { numRuns: 1, seed: 31 });
  const names = addNames(repository, writeHistory(repository, history));
  const pieces = fc.constantFrom(
    ...names.slice(0, 30),
    ...'~^{}/:@!-.*?[]\\ $`;|&<>"\'%#=+,0123456789abcdefg',
    '..',
    '...',
    '@{',
    '^{',
    '^{/',
    ':/',
    '--',
    '../',
  );
  const texts = fc.sample(
    fc.oneof(
      fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: 'grapheme', maxLength: 40 }),
    ),
    { numRuns: rounds(2_000, 6_000), seed: 32 },
  );
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const accepted: { text: string; commit: string }[] = [];
  for (const text of texts) {
    try {
      accepted.push({ text, commit: await repositories.resolve('r', text) });
    } catch (error) {
      if (!(error instanceof MemoirError)) throw error;
      t.is(error.code, 'INVALID_ARGUMENT', text);
    }
  }
  t.true(accepted.length > texts.length / 120, `${accepted.length} were accepted`);
  const suffix = ({ text }: { text: string }) => (text.startsWith(':/') ? text : `${text}^{commit}`);
  t.deepEqual(
    askGit(repository, accepted.map(suffix)),
    accepted.map(({ commit }) => commit),
  );
});
