import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { keptPath } from '../../src/git/kept/kept-repository.js';
import { keptDirectory, openRepositories } from '../../src/git/repositories.js';
import { findTree } from '../../src/worker/find-tree.js';
import { RunFailure } from '../../src/worker/run-failure.js';
import { makeRepository } from '../support/git-repository.js';

const endless = new AbortController().signal;

async function setUp(t: ExecutionContext) {
  const repository = makeRepository();
  const directory = mkdtempSync(join(tmpdir(), 'memoir-find-'));
  t.teardown(repository.dispose);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const repositories = await openRepositories({ demo: { path: repository.path } }, { directory });
  t.teardown(() => repositories.close());
  const job = {
    uuid: '00000000-0000-5000-8000-000000000001',
    repository: 'demo',
    scriptVersion: repository.commit({ file: '' }),
  };
  return {
    job,
    own: { demo: { path: repository.path } },
    kept: keptDirectory(directory),
    keep: () => repositories.keep('demo', job.scriptVersion, job.uuid, endless),
  };
}

async function reason(t: ExecutionContext, work: Promise<string>): Promise<string> {
  return (await t.throwsAsync(work, { instanceOf: RunFailure }))?.reason ?? '';
}

test('a tree is taken from where the commit is kept, else from the own repository, else waited for', async (t) => {
  const { job, own, kept, keep } = await setUp(t);
  t.is(await findTree(job, { repositories: own, kept }, endless), own.demo.path);
  t.is(await reason(t, findTree(job, { repositories: {}, kept }, endless, 30)), 'COMMIT_NOT_KEPT');
  t.is(await reason(t, findTree(job, { repositories: {}, kept: undefined }, endless)), 'UNKNOWN_REPOSITORY');
  const name = 'constructor';
  t.is(
    await reason(t, findTree({ ...job, repository: name }, { repositories: {}, kept }, endless, 0)),
    'COMMIT_NOT_KEPT',
  );
  const waited = findTree(job, { repositories: {}, kept }, endless);
  await keep();
  t.is(await waited, keptPath(kept, 'demo', own.demo.path));
  t.is(await findTree(job, { repositories: own, kept }, endless), keptPath(kept, 'demo', own.demo.path));
  t.is(await findTree(job, { repositories: own, kept: undefined }, endless), own.demo.path);
  const other = { ...job, scriptVersion: 'f'.repeat(40) };
  t.is(await findTree(other, { repositories: own, kept }, endless), own.demo.path, 'the ref is of another commit');
});

test('what is kept but damaged is passed over where there is another, and told where not', async (t) => {
  const { job, own, kept, keep } = await setUp(t);
  await keep();
  writeFileSync(join(keptPath(kept, 'demo', own.demo.path), 'refs/memoir/jobs', job.uuid), 'no hash');
  t.is(await findTree(job, { repositories: own, kept }, endless), own.demo.path);
  t.is(await reason(t, findTree(job, { repositories: {}, kept }, endless)), 'REPOSITORY_DAMAGED');
  t.is(await reason(t, findTree({ ...job, uuid: '../x' }, { repositories: {}, kept }, endless)), 'BAD_UUID');
});

test('waiting ends with the reason of the signal', async (t) => {
  const { job, kept } = await setUp(t);
  const end = new AbortController();
  const waited = findTree(job, { repositories: {}, kept }, end.signal);
  end.abort(new Error('cancelled'));
  await t.throwsAsync(waited, { message: 'cancelled' });
});
