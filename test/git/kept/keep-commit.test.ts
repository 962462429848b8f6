import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import { checkout } from '../../../src/git/checkout.js';
import { checkoutLimits } from '../../../src/git/checkout-limits.js';
import { keepCommit } from '../../../src/git/kept/keep-commit.js';
import { findKept, keptPath } from '../../../src/git/kept/kept-repository.js';
import { readLayout } from '../../../src/git/layout.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import { keptDirectory, openRepositories } from '../../../src/git/repositories.js';
import {
  gitEnvironment,
  makeRepository,
  type TestRepository,
  type TestRepositoryOptions,
} from '../../support/git-repository.js';

const job = (n: number) => `00000000-0000-5000-8000-${String(n).padStart(12, '0')}`;
const endless = new AbortController().signal;

async function setUp(t: ExecutionContext, options: TestRepositoryOptions = {}) {
  const repository = makeRepository(options);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-kept-'));
  t.teardown(repository.dispose);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const repositories = await openRepositories({ demo: { path: repository.path } }, { directory });
  t.teardown(() => repositories.close());
  const root = keptDirectory(directory);
  const path = keptPath(root, 'demo', repository.path);
  return {
    repository,
    directory,
    root,
    path,
    keep: (commit: string, n: number, signal = endless) => repositories.keep('demo', commit, job(n), signal),
    kept: (...args: string[]) => git(path, ...args),
  };
}

/** What git says of a repository, with what it says on standard error. */
function git(path: string, ...args: string[]): string {
  const command = ['--git-dir', path, ...args].map((arg) => `'${arg}'`).join(' ');
  return execFileSync('sh', ['-c', `git ${command} 2>&1`], { env: gitEnvironment(), encoding: 'utf8' }).trimEnd();
}

/** What git finds wrong, however little; that there is no branch is not wrong. */
function fsck(path: string): string {
  const said = git(path, 'fsck', '--full', '--strict', '--no-dangling');
  return said.replace(/^notice: (HEAD points to an unborn branch|No default references).*\n?/gm, '');
}

function loose(path: string): string[] {
  return readdirSync(join(path, 'objects'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /^[0-9a-f]{2}\/[0-9a-f]+$/.test(name))
    .sort();
}

function makeMixedTree({ path, commit }: TestRepository): string {
  mkdirSync(join(path, 'deep/er'), { recursive: true });
  writeFileSync(join(path, 'run.sh'), '#!/bin/sh\n');
  chmodSync(join(path, 'run.sh'), 0o755);
  symlinkSync('../run.sh', join(path, 'deep/link'));
  writeFileSync(join(path, 'large'), randomBytes(3 * 1024 * 1024));
  return commit({ 'häuser/ñ \n.txt': 'odd name', empty: '', 'deep/er/text': 'text\n', twice: 'text\n' });
}

async function refusal(t: ExecutionContext, work: Promise<unknown>): Promise<MemoirError> {
  const error = await t.throwsAsync(work);
  if (!(error instanceof MemoirError)) throw error ?? new Error('no error');
  return error;
}

for (const objectFormat of ['sha1', 'sha256'] as const) {
  for (const packed of [false, true]) {
    const how = `${objectFormat}, ${packed ? 'packed' : 'loose'}`;
    test(`what is kept is a repository that git finds nothing wrong with, and the same tree (${how})`, async (t) => {
      const { repository, path, keep, kept } = await setUp(t, { objectFormat });
      repository.commit({ first: 'gone later' });
      repository.git('rm', '--quiet', 'first');
      const commit = makeMixedTree(repository);
      if (packed) repository.git('gc', '--quiet');
      const { objects } = await keep(commit, 1);
      t.is(objects, loose(path).length);
      t.is(fsck(path), '');
      t.is(kept('rev-parse', `refs/memoir/jobs/${job(1)}`), commit);
      t.is(kept('ls-tree', '-r', '-t', commit), repository.git('ls-tree', '-r', '-t', commit));
      t.is(kept('cat-file', 'commit', commit), repository.git('cat-file', 'commit', commit));
      t.is(kept('rev-list', '--all'), commit, 'its parents are cut off');
      mkdirSync(`${path}-tree`);
      t.notThrows(() => kept('--work-tree', `${path}-tree`, 'checkout', '--quiet', '--detach', commit));
      t.is(execFileSync(`${path}-tree/run.sh`, { encoding: 'utf8' }), '');
    });
  }
}

test('jobs share objects: of the same commit all, of the next one what did not change', async (t) => {
  const { repository, path, root, keep, kept } = await setUp(t);
  const first = makeMixedTree(repository);
  t.true((await keep(first, 1)).objects >= 9);
  const before = loose(path);
  t.deepEqual(await keep(first, 2), { objects: 0, bytes: 0 });
  t.deepEqual(loose(path), before);
  const second = repository.commit({ 'deep/er/text': 'changed\n' });
  t.is((await keep(second, 3)).objects, 5, 'a blob, three trees and the commit');
  t.is(fsck(path), '');
  t.is(kept('for-each-ref', '--format=%(objectname)', 'refs/memoir/jobs'), [first, first, second].join('\n'));
  t.is(findKept(root, 'demo', job(3), second), path);
  t.is(findKept(root, 'demo', job(3), first), undefined, 'the ref is of another commit');
  t.is(findKept(root, 'other', job(3), second), undefined, 'not through another repository');
  kept('gc', '--quiet', '--prune=now');
  t.is(findKept(root, 'demo', job(1), first), path, 'a packed ref is one too');
  t.is((await keep(repository.commit({ more: '1' }), 4)).objects, 3, 'what is packed is not written again');
  t.is(fsck(path), '');
});

test('a file beyond what commits may have is kept, from a pack and from a delta', async (t) => {
  const { repository, path, root, keep, kept } = await setUp(t);
  const large = randomBytes(36 * 1024 * 1024);
  writeFileSync(join(repository.path, 'large'), large);
  const first = repository.commit({});
  writeFileSync(join(repository.path, 'large'), Buffer.concat([large, Buffer.from('and more')]));
  const second = repository.commit({});
  repository.git('repack', '-a', '-d', '--quiet', '--window=2');
  for (const [n, commit] of [first, second].entries()) {
    await keep(commit, n);
    t.is(kept('rev-parse', `${commit}:large`), repository.git('rev-parse', `${commit}:large`));
  }
  t.is(fsck(path), '');
  const target = join(root, 'tree');
  await checkout(path, second, target);
  t.is(git(path, 'hash-object', join(target, 'large')), kept('rev-parse', `${second}:large`));
});

test('trees that would leave the directory are refused, submodules left out', async (t) => {
  const { repository, root, path, keep } = await setUp(t);
  const blob = repository.gitWithInput('evil', 'hash-object', '-w', '--stdin');
  const commitOf = (mode: string, name: string, id: string) => {
    const entry = Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(id, 'hex')]);
    const raw = ['hash-object', '-w', '--literally', '--stdin', '-t'];
    const tree = repository.gitWithInput(entry, ...raw, 'tree');
    return repository.git('commit-tree', '-m', 'raw', tree);
  };
  for (const [n, name] of ['../evil', '..', '.git', '.GIT', 'a/b', ''].entries()) {
    const { reason } = await refusal(t, keep(commitOf('100644', name, blob), n));
    t.is(reason, 'UNSAFE_TREE');
    t.false(existsSync(join(path, 'refs/memoir/jobs', job(n))));
  }
  t.is((await refusal(t, keep(commitOf('130600', 'odd', blob), 7))).reason, 'MALFORMED_TREE');
  t.deepEqual(readdirSync(root), [path.slice(root.length + 1)]);
  t.is((await keep(commitOf('160000', 'module', 'ab'.repeat(20)), 8)).objects, 2);
  t.is(fsck(path), '');
});

test('names of repositories and jobs stay in the directory', (t) => {
  const names = ['a', 'A', 'a/b', 'a_b', '..', '../..', '/etc', 'ä', '', '\0', 'x'.repeat(300)];
  const paths = names.flatMap((name) => names.map((place) => keptPath('/root', name, place)));
  for (const path of paths) t.regex(path, /^\/root\/[A-Za-z0-9._-]{0,64}-[0-9a-f]{16}-[0-9a-f]{16}\.git$/);
  t.is(new Set(paths).size, names.length ** 2);
  for (const uuid of ['../../x', '', 'HEAD', `${job(1)}/../x`, `${job(1)}\n`, job(1).replace('0', 'G')]) {
    t.throws(() => findKept('/root', 'a', uuid, ''), { instanceOf: MemoirError, message: /is not the uuid/ });
  }
});

test('what the repository does not have, or another kind of object, gets no ref', async (t) => {
  const { repository, path, keep } = await setUp(t);
  const commit = repository.commit({ file: 'content' });
  const blob = repository.git('rev-parse', 'HEAD:file');
  rmSync(join(repository.path, '.git/objects', blob.slice(0, 2), blob.slice(2)));
  const missing = await refusal(t, keep(commit, 1));
  t.is(missing.reason, 'OBJECT_MISSING');
  t.regex(missing.message, new RegExp(`blob ${blob} of repository "demo"`));
  t.is((await refusal(t, keep(repository.git('rev-parse', 'HEAD^{tree}'), 2))).reason, 'REPOSITORY_DAMAGED');
  t.is((await refusal(t, keep('main', 3))).reason, 'BAD_COMMIT');
  t.deepEqual(readdirSync(join(path, 'refs/memoir/jobs')), []);
  writeFileSync(join(repository.path, 'again'), 'content');
  repository.git('hash-object', '-w', 'again');
  await keep(commit, 1);
  t.is(fsck(path), '');
});

test('what was broken off is gone on with, even if the repository has lost the rest since', async (t) => {
  const { repository, path, directory, keep, kept } = await setUp(t);
  repository.commit({ first: '' });
  const files = Object.fromEntries(Array.from({ length: 1_500 }, (_, i) => [`d${i % 7}/${i}`, `content ${i}`]));
  const commit = repository.commit(files);
  const broken = new AbortController();
  const first = keep(commit, 1, broken.signal);
  while (!existsSync(join(path, 'objects/00'))) await new Promise(setImmediate);
  broken.abort();
  await t.throwsAsync(first);
  const some = loose(path).length;
  t.true(some > 0 && some < 1_500, `${some} objects`);
  t.deepEqual(readdirSync(join(path, 'refs/memoir/jobs')), []);
  t.is(fsck(path), '', 'in between nothing is wrong either');
  writeFileSync(join(path, 'objects/tmp_obj_memoir_1'), 'half an obj');
  writeFileSync(join(path, 'refs/memoir/jobs', `${job(1)}.lock`), commit.slice(0, 7));
  writeFileSync(join(path, 'shallow.lock'), commit.slice(0, 7));
  for (const name of loose(path)) rmSync(join(repository.path, '.git/objects', name));
  // Another process, which remembers nothing.
  const again = await openRepositories({ demo: { path: repository.path } }, { directory });
  t.teardown(() => again.close());
  const rest = await again.keep('demo', commit, job(1), endless);
  t.is(rest.objects + some, loose(path).length);
  t.false(existsSync(join(path, 'objects/tmp_obj_memoir_1')));
  t.is(fsck(path), '');
  t.is(kept('ls-tree', '-r', '--name-only', commit).split('\n').length, 1_501);
});

test('a file that is too large is told as that, loose and packed, so that it is not tried again for ever', async (t) => {
  const { repository, root } = await setUp(t);
  const commit = repository.commit({ large: 'x'.repeat(5_000_000), small: 'y' });
  for (const packed of [false, true]) {
    if (packed) repository.git('gc', '--quiet');
    const source = readLayout('demo', repository.path);
    const kept = keepCommit(
      { source, root: `${root}-${packed}`, place: repository.path, commit, uuid: job(1) },
      {
        limits: { ...checkoutLimits, fileBytes: 1_000_000 },
        pages: createPageCache(1 << 20),
        whole: new Map(),
        signal: endless,
      },
    );
    const error = await t.throwsAsync(kept, { instanceOf: MemoirError });
    t.is(error?.reason, 'KEEP_TOO_LARGE', error?.message);
  }
});

test('under a name that comes to mean another place commits are kept apart, and those of before are still found', async (t) => {
  const { repository, root, path, keep, directory } = await setUp(t);
  const other = makeRepository();
  t.teardown(other.dispose);
  const first = repository.commit({ file: 'of the first' });
  const second = other.commit({ file: 'of the second' });
  await keep(first, 1);
  const repositories = await openRepositories({ demo: { path: repository.path } }, { directory });
  t.teardown(() => repositories.close());
  await repositories.replace({ demo: { path: other.path } });
  await repositories.keep('demo', second, job(2), endless);
  const apart = keptPath(root, 'demo', other.path);
  t.is(findKept(root, 'demo', job(1), first), path);
  t.is(findKept(root, 'demo', job(2), second), apart);
  t.throws(() => git(apart, 'cat-file', '-e', first));
  // Where places were not told apart yet, before.
  renameSync(path, path.replace(/-[0-9a-f]{16}\.git$/, '.git'));
  t.is(findKept(root, 'demo', job(1), first), path.replace(/-[0-9a-f]{16}\.git$/, '.git'));
  t.is(findKept(root, 'dem', job(1), first), undefined);
});
