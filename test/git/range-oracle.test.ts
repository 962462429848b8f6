import { execFileSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import type { CommitRange, Repositories } from '../../src/git/port.js';
import { openRepositories } from '../../src/git/repositories.js';
import { histories, writeHistory } from '../support/git-history.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../support/git-repository.js';
import { rounds } from '../support/rounds.js';

/**
 * What `git rev-list` prints for each of many arguments, in one shell. Of `a..b`, git is right about commits with wrong clocks
 * only by generation numbers: in topological order, in a repository with a commit-graph.
 */
function revLists(repository: TestRepository, args: readonly string[]): Set<string>[] {
  const script = 'while read -r arg; do echo =; git rev-list --topo-order "$arg"; done';
  const output = execFileSync('sh', ['-c', script], {
    cwd: repository.path,
    env: { ...gitEnvironment(), GIT_NO_REPLACE_OBJECTS: '1' },
    input: `${args.join('\n')}\n`,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  return output
    .split('=\n')
    .slice(1)
    .map((part) => new Set(part.split('\n').filter(Boolean)));
}

/** Ways in which a repository may keep its history. */
const forms: Record<string, (repository: TestRepository, ids: readonly string[]) => void> = {
  loose: () => undefined,
  'commit-graph': ({ git }) => void git('commit-graph', 'write', '--reachable'),
  'commit-graph without generation data v2': ({ git }) =>
    void git('-c', 'commitGraph.generationVersion=1', 'commit-graph', 'write', '--reachable'),
  'split commit-graph': ({ git }) => void git('commit-graph', 'write', '--reachable', '--split=no-merge'),
  'packed with multi-pack index': ({ git }) => {
    git('repack', '-dq');
    git('multi-pack-index', 'write');
  },
  'grafts and replacements, which are not followed': ({ git }, ids) => {
    const tip = ids.at(-1) ?? '';
    // git refuses to take the parents of a root away.
    if (git('rev-list', '--parents', '--max-count=1', tip).includes(' ')) git('replace', '--graft', tip);
  },
};

function query(end: string, minimum: string, exclude: readonly string[] = []) {
  const named = (refspec: string) => ({ refspec, field: 'script_version' });
  return { end: named(end), minimum: named(minimum), exclude: exclude.map(named) };
}

/** Histories of each form. */
const runs = rounds(1, 8);

let pairs = 0;

for (const [form, arrange] of Object.entries(forms)) {
  for (const objectFormat of ['sha1', 'sha256'] as const) {
    if (objectFormat === 'sha256' && form !== 'loose' && form !== 'split commit-graph') continue;
    test.serial(`ranges are what git says: ${form}, ${objectFormat}`, async (t) => {
      await fc.assert(
        fc.asyncProperty(
          // Even if all were as short as they may be, they would have enough pairs.
          fc.noBias(histories(56, 18)),
          fc.double({ min: 0, max: 1, noNaN: true }),
          async (history, part) => {
            const repository = makeRepository({ bare: true, objectFormat });
            let repositories: Repositories | undefined;
            try {
              const known = Math.floor(part * history.length);
              const before = writeHistory(repository, history.slice(0, known));
              if (known > 0) arrange(repository, before);
              repositories = await openRepositories({ r: { path: repository.path } }, { patience: 100_000 });
              if (known > 0) await repositories.range('r', query(before.at(-1) ?? '', before[0] ?? ''));
              const ids = writeHistory(repository, history, known);
              if (form.includes('split')) arrange(repository, ids);
              const reached = revLists(repository, ids);
              for (const [i, end] of ids.entries()) {
                for (const [j, minimum] of ids.entries()) {
                  const range = await repositories.range('r', query(`c${i}`, minimum));
                  check(range, end, minimum, ids, reached[i] ?? new Set(), reached[j] ?? new Set());
                  pairs++;
                }
              }
            } finally {
              await repositories?.close();
              repository.dispose();
            }
          },
        ),
        { numRuns: runs, endOnFailure: true },
      );
      t.pass();
    });
  }
}

function check(
  range: CommitRange,
  end: string,
  minimum: string,
  ids: readonly string[],
  fromEnd: ReadonlySet<string>,
  fromMinimum: ReadonlySet<string>,
): void {
  const expected = ids.filter((id) => id === minimum || (fromEnd.has(id) && !fromMinimum.has(id)));
  const actual = ids.filter((id) => range.has(id));
  if (actual.join() !== expected.join() || range.size !== expected.length) {
    throw new Error(`${minimum}..${end}: got ${actual.join(' ')} (size ${range.size}), git says ${expected.join(' ')}`);
  }
  if (range.has('0'.repeat(end.length))) throw new Error('it has a commit that does not exist');
}

test.serial('at least 2,500 pairs a round were compared', (t) => {
  t.true(pairs >= 2_500 * runs, `${pairs} pairs`);
  t.log(`${pairs} pairs`);
});

test('streams of ranges with excludes are what git says of min..max, every commit before its parents', async (t) => {
  const [history = []] = fc.sample(histories(120), { numRuns: 1, seed: 4 });
  const repository = makeRepository({ bare: true });
  t.teardown(repository.dispose);
  const ids = writeHistory(repository, history);
  repository.git('commit-graph', 'write', '--reachable');
  const repositories = await openRepositories({ r: { path: repository.path } }, { patience: 100_000 });
  t.teardown(() => repositories.close());
  const cases = fc.sample(
    fc.tuple(fc.nat(ids.length - 1), fc.nat(ids.length - 1), fc.array(fc.nat(ids.length - 1), { maxLength: 4 })),
    {
      numRuns: rounds(100, 400),
      seed: 5,
    },
  );
  const lists = revLists(
    repository,
    cases.map(([end, minimum]) => `${ids[minimum]}..${ids[end]}`),
  );
  const parents = new Map(history.map((commit, i) => [ids[i], commit.parents.map((parent) => ids[parent])]));
  for (const [i, [end, minimum, exclude]] of cases.entries()) {
    const excluded = new Set(exclude.map((number) => ids[number] ?? ''));
    const range = await repositories.range(
      'r',
      query(
        `c${end}`,
        `c${minimum}`,
        exclude.map((number) => `c${number}`),
      ),
    );
    const streamed: string[] = [];
    for await (const commit of range.commits()) {
      for (const parent of parents.get(commit) ?? []) t.false(streamed.includes(parent ?? ''));
      streamed.push(commit);
    }
    const expected = [...(lists[i] ?? []), ids[minimum] ?? ''].filter((commit) => !excluded.has(commit));
    t.deepEqual(streamed.toSorted(), expected.toSorted());
    t.is(range.size, expected.length);
    for (const commit of ids) t.is(range.has(commit), expected.includes(commit));
  }
});
