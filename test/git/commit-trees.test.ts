import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Repositories } from '../../src/git/port.js';
import { openRepositories } from '../../src/git/repositories.js';
import { makeRepository, type TestRepository, type TestRepositoryOptions } from '../support/git-repository.js';

type Scene = { readonly repository: TestRepository; readonly repositories: Repositories };

async function scene(t: ExecutionContext, kind?: TestRepositoryOptions): Promise<Scene> {
  const repository = makeRepository(kind);
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(async () => {
    await repositories.close();
    repository.dispose();
  });
  return { repository, repositories };
}

/** Commits one entry more, of any mode, in the index alone. */
function commitEntry({ git }: TestRepository, mode: string, id: string, path: string): string {
  git('update-index', '--add', '--cacheinfo', `${mode},${id},${path}`);
  git('commit', '--quiet', `--message=${path}`);
  return git('rev-parse', 'HEAD');
}

for (const objectFormat of ['sha1', 'sha256'] as const) {
  test(`a commit is plain without submodules and without filters in attributes (${objectFormat})`, async (t) => {
    const { repository, repositories } = await scene(t, { objectFormat });
    const isPlain = (commit: string) => repositories.isPlain('r', commit);
    const commits: [commit: string, plain: boolean][] = [];
    const commit = (plain: boolean, files: Record<string, string>) => {
      commits.push([repository.commit(files), plain]);
    };
    commit(true, { 'run.sh': '', 'a/b/data': 'filter=lfs', 'a/gitattributes': '*.bin filter=lfs\n' });
    commit(true, { '.gitattributes': '* text=auto\n', 'a/b/.gitattributes': '*.txt eol=crlf\n' });
    symlinkSync('../gitattributes', join(repository.path, 'a/.gitattributes'));
    commit(true, {});
    rmSync(join(repository.path, 'a/.gitattributes'));
    commit(false, { 'a/b/.gitattributes': '*.bin filter=lfs diff=lfs\n' });
    commit(true, { 'a/b/.gitattributes': '' });
    commit(false, { '.gitattributes': '[attr]large filter=lfs\n' });
    commit(false, { '.gitattributes': '# no filter\n' });
    commit(true, { '.gitattributes': '' });
    const deep = commitEntry(repository, '160000', 'ab'.repeat(objectFormat === 'sha1' ? 20 : 32), 'a/c/lib');
    commits.push([deep, false]);
    for (const [one, plain] of commits) t.is(await isPlain(one), plain, repository.git('show', '--stat', one));
    // Asked again, and at once, it is the same.
    const again = await Promise.all(commits.map(([one]) => isPlain(one)));
    t.deepEqual(
      again,
      commits.map(([, plain]) => plain),
    );
  });
}

test('where it cannot be told whether a commit is plain, nothing is said and nothing is remembered', async (t) => {
  const { repository, repositories } = await scene(t);
  const commit = repository.commit({ 'run.sh': '#!/bin/sh\n', 'kept apart/data': 'x' });
  const ids = [repository.git('rev-parse', 'HEAD:kept apart'), 'f'.repeat(40), 'main', '', 'f'.repeat(64), '../..'];
  for (const id of ids) t.is(await repositories.isPlain('r', id), undefined, id);
  t.is(await repositories.isPlain('no such', commit), undefined);

  const tree = repository.git('rev-parse', 'HEAD:kept apart');
  const file = join(repository.path, '.git/objects', tree.slice(0, 2), tree.slice(2));
  const content = repository.gitWithInput(`${tree}\n`, 'cat-file', '--batch-check=%(objectsize)');
  t.is(content, '32');
  rmSync(file);
  t.is(await repositories.isPlain('r', commit), undefined);
  writeFileSync(file, 'damaged');
  t.is(await repositories.isPlain('r', commit), undefined);
  rmSync(file);
  // With its index git writes no tree again that the index has, below one that is there: unless the files were written within the
  // second in which the index was.
  rmSync(join(repository.path, '.git/index'));
  repository.git('add', '--all');
  t.is(repository.git('write-tree'), repository.git('rev-parse', 'HEAD^{tree}'));
  t.is(await repositories.isPlain('r', commit), true);
});

test('nothing is fetched to tell whether a commit is plain', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-plain-'));
  const remotes = { allowedHosts: ['127.0.0.1'], allowHttp: true, allowPrivateAddresses: true };
  const repositories = await openRepositories({ r: { url: 'http://127.0.0.1:9/r.git' } }, { directory, remotes });
  t.is(await repositories.isPlain('r', 'a'.repeat(40)), undefined);
  t.deepEqual(readdirSync(directory), []);
  await repositories.close();
  rmSync(directory, { recursive: true });
});
