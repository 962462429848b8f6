import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { codeDigest } from '../../../src/domain/code/code-digest.js';
import { checkout } from '../../../src/git/checkout.js';
import type { CodeFound } from '../../../src/git/code/code-at.js';
import type { Repositories } from '../../../src/git/port.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { makeRepository, type TestRepository, type TestRepositoryOptions } from '../../support/git-repository.js';
import { filesOf, writeTrees } from '../../support/git-trees.js';

type Scene = {
  readonly repository: TestRepository;
  readonly repositories: Repositories;
  readonly code: (commit: string, ...paths: string[]) => Promise<CodeFound>;
};

async function scene(t: ExecutionContext, kind?: TestRepositoryOptions): Promise<Scene> {
  const repository = makeRepository(kind);
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(async () => {
    await repositories.close();
    repository.dispose();
  });
  return {
    repository,
    repositories,
    code: (commit, ...paths) => repositories.code('r', { commit, paths, checked: true }),
  };
}

for (const objectFormat of ['sha1', 'sha256'] as const) {
  test(`what a commit has at code paths is what git holds there (${objectFormat})`, async (t) => {
    const { repository, repositories, code } = await scene(t, { objectFormat });
    const { git, path } = repository;
    repository.commit({ 'run.sh': '#!/bin/sh\n', 'lib/a/b.py': '1', 'lib/é.py': '2', 'data/x': '3' });
    symlinkSync('a/b.py', join(path, 'lib/link'));
    const width = objectFormat === 'sha1' ? 20 : 32;
    git('update-index', '--add', '--cacheinfo', `160000,${'ab'.repeat(width)},vendor/sub`);
    git('add', 'lib/link');
    git('commit', '--quiet', '--message=submodule');
    const commit = git('rev-parse', 'HEAD');
    const paths = ['.', 'data', 'lib', 'lib/a/b.py', 'lib/link', 'lib/é.py', 'run.sh', 'vendor/sub'];
    for (const one of paths) {
      const found = await repositories.code('r', { commit, paths: [one], checked: false });
      const oid = git('rev-parse', one === '.' ? `${commit}^{tree}` : `${commit}:${one}`);
      const [mode] = one === '.' ? ['040000'] : git('ls-tree', '-d', commit, one).split(' ').filter(Boolean);
      const [any] = one === '.' ? ['040000'] : git('ls-tree', commit, one).split(' ');
      t.deepEqual(found, {
        kind: 'code',
        objectFormat,
        entries: [{ path: one, mode: (mode ?? any) as string, oid }],
      });
    }
    const cases: [path: string, what: RegExp][] = [
      ['nothing', /^"nothing" is not in commit \w+: there is no "nothing"$/],
      ['lib/nothing/x', /there is no "nothing" in "lib"$/],
      ['run.sh/x', /"run.sh" is a file$/],
      ['lib/link/x', /"lib\/link" is a symbolic link, and paths go through none$/],
      ['vendor/sub/x', /"vendor\/sub" is a submodule/],
      // The same letter in two characters is another name.
      ['lib/e\u0301.py', /there is no/],
    ];
    for (const [one, what] of cases) {
      const found = await code(commit, 'data', one);
      t.like(found, { kind: 'unfit', place: 1, reason: 'BAD_CODE_PATH' });
      if (found.kind === 'unfit') t.regex(found.what, what);
    }
  });
}

test('a symbolic link that leads out of the code paths is refused, one that stays is not', async (t) => {
  const { repository, code } = await scene(t);
  const links: Record<string, [target: string, paths: string[], leaves: boolean][]> = {
    'lib/a/link': [
      ['../b', ['lib'], false],
      ['../b', ['lib/a'], true],
      ['../b', ['lib/a', 'lib/b'], false],
      ['../../data/x', ['lib'], true],
      ['../../data/x', ['data', 'lib'], false],
      ['../../data/x', ['.'], false],
      ['../../..', ['.'], true],
      ['/etc/passwd', ['.'], true],
      ['not there', ['lib'], false],
      ['../not/../../there', ['lib'], true],
      ['..', ['lib'], false],
      // A directory that is there only for what is below it has more in other checkouts.
      ['../..', ['data', 'lib'], true],
      ['../..', ['.'], false],
      ['link', ['lib'], false],
      ['./../a//../b', ['lib'], false],
      // Through a link that stays, and one that leaves.
      ['../inner/x', ['lib'], false],
      ['../inner/../../data/x', ['lib'], true],
      ['../../outer/../lib/b', ['lib'], true],
      ['../../outer/../lib/b', ['.'], false],
    ],
  };
  const link = (path: string, content: string) => ({ path, mode: '120000' as const, content });
  const begin = [
    ...filesOf({ 'lib/b': '', 'data/x': '', 'lib/a/x': '', 'outer-place/x': '' }),
    link('lib/inner', 'a'),
    link('outer', 'outer-place'),
  ];
  const all = Object.entries(links).flatMap(([path, cases]) => cases.map((one) => [path, ...one] as const));
  const commits = writeTrees(
    repository,
    all.map(([path, target]) => [...begin, link(path, target)]),
  );
  for (const [i, [path, target, paths, leaves]] of all.entries()) {
    const found = await code(commits[i] as string, ...paths);
    t.is(found.kind, leaves ? 'unfit' : 'code', `${target} ${paths}: ${JSON.stringify(found)}`);
    if (found.kind !== 'unfit') continue;
    t.is(found.reason, 'CODE_LINK_LEAVES');
    t.is(found.what, `"${path}" is a symbolic link to ${JSON.stringify(target)}, which leads out of the code paths`);
  }
  // A code path may be a link itself.
  const last = commits.at(-1) as string;
  t.like(await code(last, 'lib/inner'), { kind: 'unfit', reason: 'CODE_LINK_LEAVES' });
  t.like(await code(last, 'lib/a/x', 'lib/inner'), { kind: 'unfit', reason: 'CODE_LINK_LEAVES' });
});

test('attributes that put the commit into files are refused where they are in the code paths', async (t) => {
  const { repository, code } = await scene(t);
  const cases: [files: Record<string, string>, paths: string[], refused: boolean][] = [
    [{ '.gitattributes': '*.py export-subst\n' }, ['.'], true],
    [{ '.gitattributes': '*.py export-subst\n' }, ['lib'], false],
    [{ '.gitattributes': '*.py export-subst\n' }, ['.gitattributes', 'lib'], true],
    [{ '.gitattributes': '*.py -export-subst\n# export-subst\n' }, ['.'], false],
    [{ '.gitattributes': '[attr]mine export-subst\n' }, ['.'], true],
    [{ '.gitattributes': '', 'lib/.gitattributes': '*.py text export-subst=yes\n' }, ['lib'], true],
    // Macros are defined at the root alone.
    [{ 'lib/.gitattributes': '[attr]mine export-subst\n' }, ['lib'], false],
    [{ 'lib/.gitattributes': '', 'lib/x/gitattributes': 'a export-subst\n' }, ['.'], false],
  ];
  const commits = writeTrees(
    repository,
    cases.map(([files]) => filesOf({ 'lib/x/y': '', ...files })),
  );
  for (const [i, [files, paths, refused]] of cases.entries()) {
    const found = await code(commits[i] as string, ...paths);
    t.is(found.kind, refused ? 'unfit' : 'code', JSON.stringify(files));
    if (found.kind === 'unfit') t.is(found.reason, 'CODE_EXPORT_SUBST');
  }
});

test('the first path in which code differs is told, with what is there', async (t) => {
  const { repository, repositories, code } = await scene(t);
  const first = repository.commit({ 'lib/a/x': '1', 'lib/a.b': '2', 'lib/z': '3', 'lib/only/deep/f': '4' });
  chmodSync(join(repository.path, 'lib/z'), 0o755);
  rmSync(join(repository.path, 'lib/only'), { recursive: true });
  const second = repository.commit({ 'lib/a/x': 'other', 'lib/a.b': '2' });
  const at = async (commit: string, path: string) => {
    const found = await code(commit, path);
    if (found.kind !== 'code' || !found.entries[0]) throw new Error(JSON.stringify(found));
    return found.entries[0];
  };
  const differ = async (path: string) =>
    repositories.codeDifference('r', await at(first, path), await at(second, path));
  const oid = (commit: string, path: string) => repository.git('rev-parse', `${commit}:${path}`);
  t.deepEqual(await differ('lib'), {
    path: 'lib/a/x',
    one: { mode: '100644', oid: oid(first, 'lib/a/x') },
    other: { mode: '100644', oid: oid(second, 'lib/a/x') },
  });
  t.like(await differ('lib/z'), { path: 'lib/z', one: { mode: '100644' }, other: { mode: '100755' } });
  t.is(await differ('lib/a.b'), undefined);
  const third = repository.commit({ 'lib/a/x': '1' });
  t.deepEqual(await repositories.codeDifference('r', await at(first, '.'), await at(third, '.')), {
    path: 'lib/only/deep/f',
    one: { mode: '100644', oid: oid(first, 'lib/only/deep/f') },
  });
});

test('a checkout of code paths has nothing else, by attributes of nothing else', async (t) => {
  const { repository, code } = await scene(t);
  const { git, path } = repository;
  mkdirSync(join(path, 'lib/deep'), { recursive: true });
  symlinkSync('../b.txt', join(path, 'lib/deep/link'));
  const commit = repository.commit({
    '.gitattributes': 'c.txt eol=crlf\n',
    'run.sh': '#!/bin/sh\n',
    'lib/.gitattributes': 'b.txt eol=crlf\n',
    'lib/b.txt': 'b\n',
    'lib/deep/c.txt': 'c\n',
    'lib2/d.txt': 'd\n',
    'big/pointer': 'version https://git-lfs.github.com/spec/v1\n',
  });
  const files = async (paths: string[]) => {
    const to = join(path, '.git', `out-${paths.join('-').replaceAll('/', '_')}`);
    const done = await checkout(path, commit, to, { paths });
    const found = await code(commit, ...paths);
    t.is(codeDigest(done.code), found.kind === 'code' ? codeDigest(found) : '');
    const names = readdirSync(to, { recursive: true }).map(String).sort();
    t.is(done.entries, names.length);
    return { to, names };
  };
  const lib = await files(['lib', 'run.sh']);
  t.deepEqual(lib.names, [
    'lib',
    'lib/.gitattributes',
    'lib/b.txt',
    'lib/deep',
    'lib/deep/c.txt',
    'lib/deep/link',
    'run.sh',
  ]);
  t.is(readFileSync(join(lib.to, 'lib/b.txt'), 'utf8'), 'b\r\n');
  t.is(readFileSync(join(lib.to, 'lib/deep/c.txt'), 'utf8'), 'c\n');
  const deep = await files(['lib/b.txt', 'lib/deep']);
  t.deepEqual(deep.names, ['lib', 'lib/b.txt', 'lib/deep', 'lib/deep/c.txt', 'lib/deep/link']);
  t.is(readFileSync(join(deep.to, 'lib/b.txt'), 'utf8'), 'b\n');
  const attributes = await files(['.gitattributes', 'lib/deep/c.txt']);
  t.is(readFileSync(join(attributes.to, 'lib/deep/c.txt'), 'utf8'), 'c\r\n');
  const whole = await files(['.']);
  t.is(whole.names.length, git('ls-tree', '-r', '-t', '--name-only', commit).split('\n').length);
  t.is(readFileSync(join(whole.to, 'lib/deep/c.txt'), 'utf8'), 'c\r\n');
  await t.throwsAsync(checkout(path, commit, join(path, '.git/out-none'), { paths: ['lib', 'lib2/none'] }), {
    message: /^commit \w+ cannot be checked out: there is no "lib2\/none"$/,
  });
  await t.throwsAsync(checkout(path, commit, join(path, '.git/out-below'), { paths: ['run.sh/x'] }), {
    message: /there is no "run.sh\/x"$/,
  });
});

test('what is beside the code paths does not keep them from being checked out', async (t) => {
  const { repository, code } = await scene(t);
  const { git, gitWithInput, path } = repository;
  writeFileSync(join(path, 'x'), 'x');
  const blob = git('hash-object', '-w', 'x');
  const lib = gitWithInput(`100644 blob ${blob}\tx\n`, 'mktree');
  const raw = Buffer.concat(
    [
      ['40000 .git', lib],
      ['40000 lib', lib],
      ['777 odd', blob],
    ].map(([head = '', id = '']) => Buffer.concat([Buffer.from(`${head}\0`), Buffer.from(id, 'hex')])),
  );
  const tree = gitWithInput(raw, 'hash-object', '-t', 'tree', '-w', '--literally', '--stdin');
  const commit = git('commit-tree', '-m', 'odd', tree);
  t.like(await code(commit, 'lib'), { kind: 'code', entries: [{ path: 'lib', mode: '040000', oid: lib }] });
  await checkout(path, commit, join(path, '.git/out'), { paths: ['lib'] });
  t.deepEqual(readdirSync(join(path, '.git/out'), { recursive: true }).map(String).sort(), ['lib', 'lib/x']);
  await t.throwsAsync(code(commit, '.'), { message: /\.git/ });
});

test('code that is missing or damaged is an error, and nothing of it is remembered', async (t) => {
  const { repository, repositories, code } = await scene(t);
  const commit = repository.commit({ 'lib/x': 'x' });
  const tree = repository.git('rev-parse', `${commit}:lib`);
  const file = join(repository.path, '.git/objects', tree.slice(0, 2), tree.slice(2));
  const content = readFileSync(file);
  rmSync(file);
  // What is not looked through is known without it.
  t.like(await repositories.code('r', { commit, paths: ['lib'], checked: false }), { kind: 'code' });
  await t.throwsAsync(code(commit, 'lib'), { message: /tree \w+ is missing/ });
  writeFileSync(file, content);
  t.like(await code(commit, 'lib'), { kind: 'code' });
  await t.throwsAsync(code('f'.repeat(40), 'lib'), { message: /commit f+ is missing/ });
  await t.throwsAsync(repositories.code('no such', { commit, paths: ['lib'], checked: true }), { message: /no such/ });
});
