import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import type { Repositories } from '../../src/git/port.js';
import { openRepositories } from '../../src/git/repositories.js';
import { makeRepository, type TestRepository, type TestRepositoryOptions } from '../support/git-repository.js';

type Setup = {
  repository: TestRepository;
  commits: readonly [string, string, string];
  open: (path?: string) => Promise<Repositories>;
};

/** A repository with two commits on main, one on a side branch, lightweight, annotated and nested tags. */
function setUp(t: ExecutionContext, options: TestRepositoryOptions = {}): Setup {
  const repository = makeRepository(options);
  t.teardown(repository.dispose);
  const first = repository.commit({ 'run.sh': 'echo 1' });
  const second = repository.commit({ 'run.sh': 'echo 2' });
  repository.git('checkout', '--quiet', '-b', 'side/line');
  const commits = [first, second, repository.commit({ 'run.sh': 'echo 3' })] as const;
  repository.git('checkout', '--quiet', 'main');
  repository.git('tag', 'light', first);
  repository.git('tag', '-a', '-m', 'one', 'v1.0', first);
  repository.git('tag', '-a', '-m', 'two', 'nested', 'v1.0');
  repository.git('tag', '-a', '-m', 'of a tree', 'tree-tag', 'main^{tree}');
  const open = async (path = repository.path) => {
    const repositories = await openRepositories({ r: { path } });
    t.teardown(() => repositories.close());
    return repositories;
  };
  return { repository, commits, open };
}

async function refusal(t: ExecutionContext, promise: Promise<unknown>): Promise<MemoirError> {
  const error = await t.throwsAsync(promise);
  if (!(error instanceof MemoirError)) throw error ?? new Error('no error');
  return error;
}

const accepted = [
  ...[
    'main',
    'side/line',
    'heads/main',
    'refs/heads/side/line',
    'light',
    'v1.0',
    'nested',
    'tags/nested',
    'refs/tags/v1.0',
  ],
  ...['HEAD', '@', '@~1', 'HEAD^', 'main~', 'side/line~2', 'side/line~1^0', 'main^{}', 'nested^{}', 'nested^{commit}'],
  ...['v1.0^{tag}', 'v1.0^{object}', 'side/line^{commit}~2^{}'],
];

for (const objectFormat of ['sha1', 'sha256'] as const) {
  for (const packed of [false, true]) {
    test(`resolves as git does: ${objectFormat}, ${packed ? 'packed' : 'loose'}`, async (t) => {
      const { repository, commits, open } = setUp(t, { objectFormat });
      if (packed) {
        repository.git('gc', '--quiet');
        repository.git('pack-refs', '--all');
      }
      const repositories = await open();
      const hashes = commits.flatMap((id) => [
        id,
        id.toUpperCase(),
        id.slice(0, 12),
        id.slice(0, 7).toUpperCase(),
        `v1.0-3-g${id.slice(0, 8)}`,
      ]);
      const tag = repository.git('rev-parse', 'nested');
      for (const text of [...accepted, ...hashes, tag, tag.slice(0, 10)]) {
        t.is(await repositories.resolve('r', text), repository.git('rev-parse', '--verify', `${text}^{commit}`), text);
      }
    });
  }
}

const bad = [
  ...[
    '',
    '-',
    '--all',
    '--upload-pack=touch /tmp/x',
    'a..b',
    'main..side/line',
    'a...b',
    '..',
    '../main',
    'main/..',
    '/main',
    'main/',
  ],
  ...[
    'a//b',
    'a\0b',
    'main\n',
    '\u007f',
    'main@{1}',
    '@{-1}',
    '@{upstream}',
    'HEAD@{yesterday}',
    '@{}',
    ':run.sh',
    'main:run.sh',
  ],
  ...[
    ':0:run.sh',
    ':/',
    '^main',
    'main^@',
    'main^!',
    'main^-',
    'main^-1',
    'main^{tree}',
    'main^{blob}',
    'main^{nonsense}',
    '~1',
  ],
  ...[
    '^',
    'a b',
    'a?b',
    'a*',
    'a[b',
    'a\\b',
    'x.lock',
    '.hidden',
    'a/.hidden',
    'main.',
    'main~99999999999999999999',
    '\ud800',
    'é\0',
  ],
  ...[
    'a'.repeat(10_240),
    '/'.repeat(10_240),
    '^'.repeat(10_240),
    '../../../../etc/passwd',
    'main^{/!x}',
    '~'.repeat(5),
  ],
];

test('refuses what cannot name one commit, whatever the repository has', async (t) => {
  const { open } = setUp(t);
  const repositories = await open();
  for (const text of bad) {
    const error = await refusal(t, repositories.resolve('r', text, { field: 'minimum_script_version' }));
    t.is(error.code, 'INVALID_ARGUMENT', text);
    t.is(error.reason, 'BAD_REFSPEC', text);
    t.is(error.field, 'minimum_script_version', text);
    t.true(error.message.length < 600, text);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that they do not come through is the point
    t.notRegex(error.message, /[\u0000-\u001f\u007f]/);
  }
});

const nowhere = [
  ...[
    'nothing',
    'refs/heads/nothing',
    'abc',
    'config',
    'objects',
    'heads',
    'refs',
    'refs/heads',
    'logs/HEAD',
    'MAIN',
    '0000',
  ],
  ...[
    '0'.repeat(40),
    'f'.repeat(64),
    'main~2',
    'main^2',
    'main^1^1^1',
    'light^{tag}',
    'tree-tag',
    'tree-tag^{}',
    'v1-1-gffffff0',
  ],
  ...['main/x', '$(touch)', '`id`', 'ｍain', 'mаin', 'x'.repeat(250), 'light~2147483647'],
];

test('refuses what names no commit here, naming it', async (t) => {
  const { open } = setUp(t);
  const repositories = await open();
  for (const text of nowhere) {
    const error = await refusal(t, repositories.resolve('r', text));
    t.is(error.code, 'INVALID_ARGUMENT', text);
    t.is(error.reason, 'UNRESOLVABLE_REFSPEC', text);
    t.is(error.field, 'script_version', text);
    t.true(error.message.includes('script_version "'), error.message);
  }
});

test('names an unknown repository, also one that every object has', async (t) => {
  const { open } = setUp(t);
  const repositories = await open();
  t.deepEqual(repositories.names(), ['r']);
  for (const name of ['other', '__proto__', 'toString', '../r', '']) {
    const error = await refusal(t, repositories.resolve(name, 'main'));
    t.is(error.reason, 'UNKNOWN_REPOSITORY');
    t.is(error.field, 'repository');
  }
});

test('a moved branch is seen by the next call, loose and packed', async (t) => {
  const { repository, commits, open } = setUp(t);
  const repositories = await open();
  for (let round = 0; round < 20; round++) {
    const target = commits[round % 3] ?? '';
    repository.git('update-ref', 'refs/heads/moving', target);
    if (round % 2) repository.git('pack-refs', '--all');
    t.is(await repositories.resolve('r', 'moving'), target);
  }
  repository.git('update-ref', '-d', 'refs/heads/moving');
  await refusal(t, repositories.resolve('r', 'moving'));
});

test('sees commits that are made, packed and repacked after it was opened', async (t) => {
  const { repository, open } = setUp(t);
  const repositories = await open();
  await repositories.resolve('r', 'main');
  for (let i = 0; i < 3; i++) {
    const commit = repository.commit({ 'run.sh': `echo later ${i}` });
    t.is(await repositories.resolve('r', commit.slice(0, 10)), commit);
    const next = repository.commit({ 'run.sh': `echo packed ${i}` });
    repository.git('repack', '-adq');
    t.is(await repositories.resolve('r', next), next);
  }
});

test('a hash that exists beats a branch of that name; a branch beats an abbreviation', async (t) => {
  const { repository, commits, open } = setUp(t);
  const [first, second] = commits;
  repository.git('update-ref', `refs/heads/${first}`, second);
  repository.git('update-ref', `refs/heads/${first.slice(0, 8)}`, second);
  const repositories = await open();
  t.is(await repositories.resolve('r', first), first);
  t.is(await repositories.resolve('r', first.slice(0, 8)), second);
  t.is(await repositories.resolve('r', first.slice(0, 9)), first);
});

test('an ambiguous abbreviation lists its candidates; one commit among blobs is none', async (t) => {
  const { repository, open } = setUp(t);
  const tree = repository.git('rev-parse', 'main^{tree}');
  const byPrefix = new Map<string, string[]>();
  const input = Array.from(
    { length: 600 },
    (_, i) => `commit refs/heads/many\ncommitter A <a@b> ${i} +0000\ndata 1\nx\n`,
  ).join('\n');
  repository.gitWithInput(input, 'fast-import', '--quiet');
  for (const id of repository.git('rev-list', 'many').split('\n')) {
    byPrefix.set(id.slice(0, 4), [...(byPrefix.get(id.slice(0, 4)) ?? []), id]);
  }
  const [prefix, ids] = [...byPrefix].find(([, all]) => all.length > 1) ?? ['', []];
  t.true(ids.length > 1);
  const error = await refusal(t, (await open()).resolve('r', prefix));
  t.is(error.reason, 'UNRESOLVABLE_REFSPEC');
  for (const id of ids) t.true(error.message.includes(id), error.message);
  const notCommit = await refusal(t, (await open()).resolve('r', tree.slice(0, 12)));
  t.is(notCommit.reason, 'UNRESOLVABLE_REFSPEC');
});

test('opens bare repositories, .git files, linked work trees and alternates', async (t) => {
  const { repository, commits, open } = setUp(t);
  const elsewhere = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(elsewhere, { recursive: true }));
  repository.git('clone', '--quiet', '--bare', '.', join(elsewhere, 'bare'));
  repository.git('clone', '--quiet', '--shared', '.', join(elsewhere, 'shared'));
  repository.git('worktree', 'add', '--quiet', join(elsewhere, 'tree'), 'side/line');
  for (const path of ['bare', 'shared']) {
    t.is(await (await open(join(elsewhere, path))).resolve('r', 'HEAD'), commits[1], path);
  }
  repository.git('init', '--quiet', '--separate-git-dir', join(elsewhere, 'apart'));
  for (const path of [repository.path, join(repository.path, '.git'), join(elsewhere, 'apart')]) {
    t.is(await (await open(path)).resolve('r', 'HEAD'), commits[1], path);
  }
});

test('a linked work tree has a HEAD of its own and shares the branches', async (t) => {
  const { repository, commits, open } = setUp(t);
  const elsewhere = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(elsewhere, { recursive: true }));
  repository.git('worktree', 'add', '--quiet', join(elsewhere, 'tree'), 'side/line');
  const repositories = await open(join(elsewhere, 'tree'));
  t.is(await repositories.resolve('r', 'HEAD'), commits[2]);
  t.is(await repositories.resolve('r', 'main'), commits[1]);
});

test('refuses at opening what is not a repository, naming name and path', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'half/.git/objects'), { recursive: true });
  writeFileSync(join(directory, 'half/.git/HEAD'), 'ref: refs/heads/main\n');
  mkdirSync(join(directory, 'lost'));
  writeFileSync(join(directory, 'lost/.git'), `gitdir: ${join(directory, 'nowhere')}\n`);
  writeFileSync(join(directory, 'file'), 'no');
  for (const path of [
    directory,
    join(directory, 'half'),
    join(directory, 'lost'),
    join(directory, 'file'),
    join(directory, 'none'),
    'a\0b',
    '',
  ]) {
    const error = await refusal(t, openRepositories({ 'my/repo': { path } }));
    t.is(error.code, 'FAILED_PRECONDITION');
    t.is(error.reason, 'NOT_A_REPOSITORY');
    t.true(
      error.message.startsWith(`repository "my/repo" at ${JSON.stringify(path)} is not a git repository`),
      error.message,
    );
  }
});

for (const [what, lines] of [
  ['refs kept in an unknown way', '[extensions]\n\trefStorage = somewhere\n'],
  ['an unknown extension', '[extensions]\n\tfuture = true\n'],
  ['an unknown object format', '[extensions]\n\tobjectFormat = sha512\n'],
] as const) {
  test(`refuses ${what} at opening`, async (t) => {
    const { repository } = setUp(t);
    writeFileSync(join(repository.path, '.git/config'), `[core]\n\trepositoryformatversion = 1\n${lines}`);
    const error = await refusal(t, openRepositories({ r: { path: repository.path } }));
    t.is(error.reason, 'UNSUPPORTED_REPOSITORY');
  });
}

test('a repository that went away is unavailable, and comes back; others go on', async (t) => {
  const { repository, commits } = setUp(t);
  const other = setUp(t);
  const repositories = await openRepositories({ a: { path: repository.path }, b: { path: other.repository.path } });
  t.teardown(() => repositories.close());
  cpSync(repository.path, `${repository.path}.away`, { recursive: true });
  t.teardown(() => rmSync(`${repository.path}.away`, { recursive: true, force: true }));
  rmSync(repository.path, { recursive: true });
  const error = await refusal(t, repositories.resolve('a', 'main'));
  t.is(error.code, 'UNAVAILABLE');
  t.is(error.reason, 'REPOSITORY_UNAVAILABLE');
  t.is(await repositories.resolve('b', 'main'), other.commits[1]);
  renameSync(`${repository.path}.away`, repository.path);
  t.is(await repositories.resolve('a', 'main'), commits[1]);
});

test('damage is told with repository and object', async (t) => {
  const { repository, commits, open } = setUp(t);
  const [first] = commits;
  const loose = join(repository.path, '.git/objects', first.slice(0, 2), first.slice(2));
  const repositories = await open();
  rmSync(loose);
  const missing = await refusal(t, repositories.resolve('r', 'light'));
  t.is(missing.code, 'DATA_LOSS');
  t.true(missing.message.includes(`"r"`) && missing.message.includes(first), missing.message);
  writeFileSync(loose, 'not deflated');
  const corrupt = await refusal(t, repositories.resolve('r', 'light'));
  t.is(corrupt.code, 'DATA_LOSS');
  t.true(corrupt.message.includes(first), corrupt.message);
  t.is(await repositories.resolve('r', 'main'), commits[1]);
  writeFileSync(join(repository.path, '.git/refs/heads/broken'), 'not a hash\n');
  t.is((await refusal(t, repositories.resolve('r', 'broken'))).code, 'DATA_LOSS');
});
