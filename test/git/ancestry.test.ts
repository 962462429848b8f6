import test from 'ava';
import fc from 'fast-check';
import { openRepositories } from '../../src/git/repositories.js';
import { histories, writeHistory } from '../support/git-history.js';
import { makeRepository } from '../support/git-repository.js';

test('isAncestor says what git rev-list says, on histories of every shape and while they grow', async (t) => {
  t.timeout(300_000);
  const property = fc.asyncProperty(histories(14), async (history) => {
    const repository = makeRepository({ bare: true });
    const repositories = await openRepositories({ r: { path: repository.path } });
    try {
      const half = Math.ceil(history.length / 2);
      const first = writeHistory(repository, history.slice(0, half));
      await repositories.isAncestor('r', first[0] as string, first);
      const ids = half < history.length ? writeHistory(repository, history, half) : first;
      const reached = new Map(ids.map((id) => [id, repository.git('rev-list', id).split('\n')]));
      for (const ancestor of ids) {
        const given = await repositories.isAncestor('r', ancestor, ids);
        const right = ids.map((id) => (reached.get(id) ?? []).includes(ancestor));
        t.deepEqual(given, right);
      }
      const unknown = 'f'.repeat(40);
      t.deepEqual(await repositories.isAncestor('r', unknown, [ids[0] as string]), [undefined]);
      t.deepEqual(await repositories.isAncestor('r', ids[0] as string, [unknown, ids[0] as string]), [undefined, true]);
    } finally {
      await repositories.close();
      repository.dispose();
    }
  });
  await fc.assert(property, { numRuns: 6, endOnFailure: true });
});

test('what is no commit, and a shallow repository, are told', async (t) => {
  const repository = makeRepository();
  const first = repository.commit({ a: '1' });
  const second = repository.commit({ a: '2' });
  const repositories = await openRepositories({ r: { path: repository.path } });
  const tree = repository.git('rev-parse', 'HEAD^{tree}');
  t.deepEqual(await repositories.isAncestor('r', first, [tree, second, first]), [undefined, true, true]);
  await repositories.close();
  const clone = makeRepository();
  clone.git('fetch', '--quiet', '--depth=1', `file://${repository.path}`, 'main');
  const shallow = await openRepositories({ s: { path: clone.path } });
  await t.throwsAsync(() => shallow.isAncestor('s', second, [second]), { message: /"s" is shallow/ });
  await shallow.close();
  clone.dispose();
  repository.dispose();
});
