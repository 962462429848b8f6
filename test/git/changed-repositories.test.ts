import { readdirSync, readlinkSync } from 'node:fs';
import test from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { openRepositories } from '../../src/git/repositories.js';
import { makeRepository } from '../support/git-repository.js';
import { until } from '../support/until.js';

const reasonOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof MemoirError ? error.reason : String(error)),
  );

/** The files that this process has open, where the system tells. */
function openFiles(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

test('repositories come, go and move; calls under way go on with what they began with', async (t) => {
  const [one, other] = [makeRepository(), makeRepository()];
  t.teardown(one.dispose);
  t.teardown(other.dispose);
  const ids = Array.from({ length: 20 }, (_, i) => one.commit({ file: `${i}` }));
  const [oldest = '', last = ''] = [ids[0], ids.at(-1)];
  const second = other.commit({ file: 'of the other' });
  const repositories = await openRepositories({ a: { path: one.path } });
  t.teardown(() => repositories.close());
  const end = { refspec: 'main', field: 'end' };
  const minimum = { refspec: oldest, field: 'minimum' };
  const range = await repositories.range('a', { end, minimum });
  const underWay = [
    repositories.resolve('a', 'main~19'),
    repositories.resolve('a', ':/nothing at all'),
    repositories.range('a', { end: { ...end, refspec: 'main~1' }, minimum }),
  ] as const;

  await repositories.replace({ a: { path: other.path }, b: { path: one.path } });
  t.deepEqual(repositories.names(), ['a', 'b']);
  t.is(await repositories.resolve('a', 'main'), second);
  t.is(await repositories.resolve('b', 'main'), last);
  t.is(await reasonOf(repositories.resolve('a', ids[3] ?? '')), 'UNRESOLVABLE_REFSPEC');
  t.is(await underWay[0], oldest);
  t.is(await reasonOf(underWay[1]), 'UNRESOLVABLE_REFSPEC');
  t.is((await underWay[2]).size, 19);
  const listed: string[] = [];
  for await (const id of range.commits()) listed.push(id);
  t.deepEqual(listed, ids.toReversed());

  // What cannot be opened changes nothing.
  t.is(await reasonOf(repositories.replace({ a: { path: one.path }, c: { path: '/nowhere' } })), 'NOT_A_REPOSITORY');
  t.is(await repositories.resolve('a', 'main'), second);
  t.is(await repositories.isPlain('c', second), undefined);

  one.git('repack', '-adq');
  t.is(await repositories.resolve('b', 'main~3'), ids[16] ?? '');
  const held = () => openFiles().filter((file) => file.startsWith(one.path));
  t.true(held().length > 0 || process.platform !== 'linux');
  await repositories.replace({});
  t.deepEqual(repositories.names(), []);
  t.is(await reasonOf(repositories.resolve('a', 'main')), 'UNKNOWN_REPOSITORY');
  await until('its files are let go of', () => held().length === 0);
  await repositories.replace({ a: { path: one.path } });
  t.is(await repositories.resolve('a', 'main'), last);
});

test('a repository that may come late fails by name until it is there', async (t) => {
  const one = makeRepository();
  t.teardown(one.dispose);
  const first = one.commit({ file: '1' });
  const path = `${one.path}/later.git`;
  const repositories = await openRepositories({ a: { path, late: true } });
  t.teardown(() => repositories.close());
  t.is(await reasonOf(repositories.resolve('a', 'main')), 'NOT_A_REPOSITORY');
  t.is(await reasonOf(repositories.check('a', { path })), 'NOT_A_REPOSITORY');
  one.git('clone', '--quiet', '--bare', '.', path);
  t.is(await repositories.resolve('a', 'main'), first);
  await repositories.check('a', { path });
});
