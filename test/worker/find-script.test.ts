import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { checkout } from '../../src/git/checkout.js';
import { openRepositories } from '../../src/git/repositories.js';
import { findScript } from '../../src/worker/find-script.js';
import type { RunFailure } from '../../src/worker/run-failure.js';
import { makeRepository } from '../support/git-repository.js';

/** A commit with an entry for each mode, path and content; a submodule's content is the commit that it names. */
function commitOf(t: ExecutionContext, entries: readonly (readonly [mode: string, path: string, content: string])[]) {
  const repository = makeRepository();
  t.teardown(() => repository.dispose());
  for (const [mode, path, content] of entries) {
    const id = mode === '160000' ? content : repository.gitWithInput(content, 'hash-object', '-w', '--stdin');
    repository.git('update-index', '--add', '--cacheinfo', `${mode},${id},${path}`);
  }
  repository.git('commit', '--quiet', '--message=scripts');
  return { path: repository.path, commit: repository.git('rev-parse', 'HEAD') };
}

const shell = '#!/bin/sh\n';
const links = Array.from(
  { length: 42 },
  (_, i) => ['120000', `chain/${i}`, i === 0 ? '../run.sh' : `${i - 1}`] as const,
);

const { tree, cases } = {
  tree: [
    ['100755', 'run.sh', shell],
    ['100755', 'bin/Align.py', shell],
    ['100755', 'é ü.sh', shell],
    ['100644', 'plain.sh', shell],
    ['100644', 'dir/file', ''],
    ['160000', 'lib', 'ab'.repeat(20)],
    ['120000', 'to-run', 'run.sh'],
    ['120000', 'bin/up', '.././bin//../to-run'],
    ['120000', 'to-dir', 'bin'],
    ['120000', 'to-plain', 'plain.sh'],
    ['120000', 'dangling', 'bin/nothing'],
    ['120000', 'loop', 'loop'],
    ['120000', 'through-file', 'run.sh/..'],
    ['120000', 'slash', 'run.sh/'],
    ['120000', 'outside', '/bin/true'],
    ['120000', 'and-back', '../tree/run.sh'],
    ['120000', 'above', '../../x'],
    ...links,
  ] as const,
  // The path, what the worker says of it once it is checked out, and what is told of the tree alone.
  cases: [
    ['run.sh', undefined, 'executable'],
    ['é ü.sh', undefined, 'executable'],
    ['to-run', undefined, 'executable'],
    ['bin/up', undefined, 'executable'],
    ['to-dir/Align.py', undefined, 'executable'],
    ['to-dir/up', undefined, 'executable'],
    ['chain/39', undefined, 'executable'],
    ['chain/40', /SCRIPT_NOT_FOUND: there is no "chain\/40" in commit .* \(ELOOP\)/, 'missing'],
    [
      'plain.sh',
      /SCRIPT_NOT_EXECUTABLE: "plain.sh" in commit [0-9a-f]{40} is not marked as executable; run "git/,
      'file',
    ],
    ['to-plain', /SCRIPT_NOT_EXECUTABLE/, 'file'],
    ['dir', /SCRIPT_NOT_EXECUTABLE: .* is a directory/, 'directory'],
    ['to-dir', /SCRIPT_NOT_EXECUTABLE: .* is a directory/, 'directory'],
    ['lib', /SCRIPT_NOT_EXECUTABLE: .* is a directory/, 'submodule'],
    ['lib/x', /SCRIPT_NOT_FOUND/, 'missing'],
    ['missing', /SCRIPT_NOT_FOUND: there is no "missing" in commit/, 'missing'],
    ['dir/file/x', /SCRIPT_NOT_FOUND: .* \(ENOTDIR\)/, 'missing'],
    ['dangling', /SCRIPT_NOT_FOUND/, 'missing'],
    ['loop', /SCRIPT_NOT_FOUND/, 'missing'],
    ['through-file', /SCRIPT_NOT_FOUND/, 'missing'],
    ['slash', /SCRIPT_NOT_FOUND/, 'missing'],
    // Only a checkout can tell.
    ['outside', /SCRIPT_OUTSIDE_TREE: .* leaves the tree/, undefined],
    ['and-back', undefined, undefined],
    ['above', /SCRIPT_NOT_FOUND|SCRIPT_OUTSIDE_TREE/, undefined],
  ] as const,
};

test('what is told of a script before there is a job is what the worker finds in the checkout, or nothing', async (t) => {
  const { path, commit } = commitOf(t, tree);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-script-'));
  const repositories = await openRepositories({ r: { path } });
  t.teardown(async () => {
    await repositories.close();
    rmSync(directory, { recursive: true });
  });
  const checkedOut = join(directory, 'tree');
  await checkout(path, commit, checkedOut, { leaveSubmodules: true });
  for (const [script, worker, told] of cases) {
    const failed = await findScript(checkedOut, script, commit).then(
      () => undefined,
      (error: RunFailure) => `${error.reason}: ${error.message}`,
    );
    if (worker) t.regex(failed ?? 'no error', worker, script);
    else t.is(failed, undefined, script);
    t.is((await repositories.script('r', commit, script))?.kind, told, script);
    // A certain no is one of the worker too.
    if (told !== undefined) t.is(told === 'executable', failed === undefined, script);
  }
  t.is(await repositories.script('r', 'f'.repeat(40), 'run.sh'), undefined);
  t.is(await repositories.script('other', commit, 'run.sh'), undefined);
});

test('near names are told of what is missing: misspelt, in another case, directory or with another extension', async (t) => {
  const { path, commit } = commitOf(t, tree);
  const repositories = await openRepositories({ r: { path } });
  t.teardown(() => repositories.close());
  for (const [script, near] of [
    ['rnu.sh', ['run.sh']],
    ['Run.sh', ['run.sh']],
    ['bin/run.sh', ['run.sh']],
    ['align.py', ['bin/Align.py']],
    ['bin/align.sh', ['bin/Align.py']],
    ['é u.sh', ['é ü.sh']],
    ['nothing/like/that', []],
    [`${'x'.repeat(4_000)}`, []],
  ] as const) {
    const found = await repositories.script('r', commit, script);
    t.deepEqual(found, { kind: 'missing', near: [...near] }, script);
  }
});

test('a large tree is looked through for a script in a bounded time, its near names as far as that goes', async (t) => {
  const repository = makeRepository({ bare: true });
  const blob = repository.gitWithInput(shell, 'hash-object', '-w', '--stdin');
  const names = Array.from({ length: 100_000 }, (_, i) => `100755 blob ${blob}\t${'n'.repeat(200)}${i}\n`).join('');
  const root = repository.gitWithInput(`${names}100755 blob ${blob}\talign.py\n`, 'mktree');
  const commit = repository.git('commit-tree', root, '-m', 'large');
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(async () => {
    await repositories.close();
    repository.dispose();
  });
  t.deepEqual(await repositories.script('r', commit, `${'n'.repeat(200)}99999`), { kind: 'executable' });
  t.deepEqual(await repositories.script('r', commit, 'algin.py'), { kind: 'missing', near: ['align.py'] });
  const misspelt = await repositories.script('r', commit, `${'n'.repeat(199)}m7`);
  t.is(misspelt?.kind === 'missing' && misspelt.near.length, 3);
});
