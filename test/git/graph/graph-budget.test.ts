import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type GraphLimits, graphsDue } from '../../../src/git/graph/graph-budget.js';
import type { Repositories } from '../../../src/git/port.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { makeRepository, type TestRepository } from '../../support/git-repository.js';
import { until } from '../../support/until.js';

const graph = (name: string, bytes: number, usedAt: number) => ({ name, bytes: () => bytes, usedAt: () => usedAt });

const table: { what: string; limits: GraphLimits; graphs: ReturnType<typeof graph>[]; due: string }[] = [
  { what: 'nothing is loaded', limits: { idleAfter: 0, maxBytes: 0 }, graphs: [graph('a', 0, 0)], due: '' },
  {
    what: 'idle just long enough, and just not',
    limits: { idleAfter: 100, maxBytes: 1_000 },
    graphs: [graph('a', 10, 901), graph('b', 10, 900), graph('c', 10, 0)],
    due: 'c b',
  },
  {
    what: 'too many bytes: the least recently used first, and no more than that',
    limits: { idleAfter: Number.POSITIVE_INFINITY, maxBytes: 25 },
    graphs: [graph('a', 10, 3), graph('b', 10, 1), graph('c', 10, 2), graph('d', 5, 4)],
    due: 'b',
  },
  {
    what: 'the last one stays, however large',
    limits: { idleAfter: Number.POSITIVE_INFINITY, maxBytes: 25 },
    graphs: [graph('a', 10, 1), graph('b', 100, 2)],
    due: 'a',
  },
  {
    what: 'what is idle makes room first',
    limits: { idleAfter: 100, maxBytes: 25 },
    graphs: [graph('a', 10, 850), graph('b', 10, 950), graph('c', 10, 960)],
    due: 'a',
  },
  {
    what: 'even the last one goes if it is idle',
    limits: { idleAfter: 100, maxBytes: 1_000 },
    graphs: [graph('a', 10, 0)],
    due: 'a',
  },
];

for (const { what, limits, graphs, due } of table) {
  test(`lets go: ${what}`, (t) => {
    const found = graphsDue(graphs, limits, 1_000);
    t.is(found.map(({ name }) => name).join(' '), due);
  });
}

type Line = { message: string; repository?: string; source?: string };

async function setUp(t: ExecutionContext, histories: GraphLimits) {
  const origins: Record<'a' | 'b', TestRepository> = { a: makeRepository(), b: makeRepository() };
  const directory = mkdtempSync(join(tmpdir(), 'memoir-budget-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  for (const origin of Object.values(origins)) {
    t.teardown(origin.dispose);
    for (let i = 0; i < 3; i++) origin.commit({ file: `${i}` });
  }
  const clock = { now: 0 };
  const lines: Line[] = [];
  const record = (facts: object, message: string) => void lines.push({ ...facts, message });
  const repositories = await openRepositories(
    { a: { path: origins.a.path }, b: { path: origins.b.path } },
    {
      directory,
      histories,
      patience: 100_000,
      log: { info: record, warn: record },
      edge: { now: () => Date.now(), monotonic: () => clock.now },
    },
  );
  t.teardown(() => repositories.close());
  const told = (message: string) => lines.filter((line) => line.message === message);
  return { origins, repositories, clock, gone: () => told('history let go').map(({ repository }) => repository), told };
}

const sizeOf = async (repositories: Repositories, name: string) =>
  (
    await repositories.range(name, {
      end: { refspec: 'main', field: 'x' },
      minimum: { refspec: 'main~2', field: 'x' },
    })
  ).size;

test('a history that nobody asks for is let go, and loaded again from what was kept', async (t) => {
  const { origins, repositories, clock, gone, told } = await setUp(t, { idleAfter: 1_000, maxBytes: 2 ** 30 });
  const [before] = await Promise.all([
    repositories.range('a', { end: { refspec: 'main', field: 'x' }, minimum: { refspec: 'main~2', field: 'x' } }),
    sizeOf(repositories, 'b'),
  ]);
  t.true((await repositories.isAncestor('a', before.minimum ?? '', [before.end]))[0]);
  clock.now = 600;
  t.is(await sizeOf(repositories, 'b'), 3, 'what is answered from a range that was computed before counts as asked');
  clock.now = 1_500;
  await until('a is let go', () => gone().includes('a'));
  t.deepEqual(gone(), ['a']);
  clock.now = 1_600;
  await until('b is let go', () => gone().includes('b'));
  t.true(before.has(before.end), 'a range that was given out stays');

  const commit = origins.a.commit({ file: 'new' });
  t.is(await sizeOf(repositories, 'a'), 3);
  const again = await repositories.range('a', {
    end: { refspec: 'main', field: 'x' },
    minimum: { refspec: 'main~3', field: 'x' },
  });
  t.is(again.size, 4);
  t.true(again.has(commit));
  t.deepEqual(await repositories.isAncestor('a', before.end, [commit, before.minimum ?? '']), [true, false]);
  t.deepEqual(
    told('history loaded')
      .map(({ repository, source }) => `${repository} ${source}`)
      .sort(),
    ['a kept', 'a objects', 'b objects'],
  );
});

test('where all histories are too many, loading one lets go of the one used least recently', async (t) => {
  const { repositories, clock, gone, told } = await setUp(t, {
    idleAfter: Number.POSITIVE_INFINITY,
    maxBytes: 300_000,
  });
  const order = ['a', 'b', 'a', 'a', 'b'];
  for (const name of order) {
    clock.now++;
    t.is(await sizeOf(repositories, name), 3);
    // A range may come from the disk before.
    await until(`${name} is loaded`, () => told('history loaded').at(-1)?.repository === name);
  }
  t.deepEqual(gone(), ['a', 'b', 'a']);
});
