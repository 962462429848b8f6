import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../src/domain/errors.js';
import type { HistoryLog } from '../../src/git/graph/history.js';
import { openRepositories, type RepositoriesOptions } from '../../src/git/repositories.js';
import { histories, writeHistory } from '../support/git-history.js';
import {
  gitEnvironment,
  makeRepository,
  type TestRepository,
  type TestRepositoryOptions,
} from '../support/git-repository.js';
import { until } from '../support/until.js';

type Line = { facts: Record<string, unknown>; message: string };

function recordingLog(): HistoryLog & { lines: Line[] } {
  const lines: Line[] = [];
  const record = (facts: object, message: string) => void lines.push({ facts: { ...facts }, message });
  return { lines, info: record, warn: record };
}

const named = (refspec: string) => ({ refspec, field: 'script_version' });
const between = (minimum: string, end: string) => ({ end: named(end), minimum: named(minimum) });

function makeDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-kept-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function make(t: ExecutionContext, options: TestRepositoryOptions = { bare: true }): TestRepository {
  const repository = makeRepository(options);
  t.teardown(repository.dispose);
  return repository;
}

async function open(t: ExecutionContext, repository: TestRepository, options: RepositoriesOptions = {}) {
  const log = recordingLog();
  const repositories = await openRepositories({ r: { path: repository.path } }, { log, patience: 100_000, ...options });
  t.teardown(() => repositories.close());
  return {
    repositories,
    log,
    loaded: () => log.lines.filter(({ message }) => message === 'history loaded').map(({ facts }) => facts),
  };
}

/** A history of so many commits in one line, with a merge here and there. */
function line(commits: number) {
  return Array.from({ length: commits }, (_, i) => ({
    parents: i === 0 ? [] : i % 50 === 49 ? [i - 1, i - 20, i - 30] : [i - 1],
    date: 1_700_000_000 + i,
  }));
}

for (const objectFormat of ['sha1', 'sha256'] as const) {
  test(`keeps an imported history in a form that git verifies and that is loaded again: ${objectFormat}`, async (t) => {
    const [random = []] = fc.sample(histories(80), { numRuns: 1, seed: 11 });
    for (const history of [random, line(1_500)]) {
      const repository = make(t, { bare: true, objectFormat });
      const directory = makeDirectory(t);
      const ids = writeHistory(repository, history);
      const query = between(ids[0] ?? '', ids.at(-1) ?? '');
      const first = await open(t, repository, { directory });
      const size = (await first.repositories.range('r', query)).size;
      await first.repositories.close();
      t.like(first.loaded(), [{ source: 'objects', imported: history.length, written: true }]);

      const [name = ''] = readdirSync(directory);
      cpSync(join(directory, name, 'info/commit-graph'), join(repository.path, 'objects/info/commit-graph'));
      repository.git('commit-graph', 'verify');
      t.is(Number(repository.git('rev-list', '--count', '--all')), history.length);
      rmSync(join(repository.path, 'objects/info/commit-graph'));

      const second = await open(t, repository, { directory });
      t.is((await second.repositories.range('r', query)).size, size);
      // The first range comes from the file, while all of it is loaded.
      await until('it is loaded', () => second.loaded().length > 0);
      t.like(second.loaded(), [{ source: 'kept', imported: 0 }]);
      t.is((await second.repositories.range('r', { ...query, exclude: [named(ids.at(-1) ?? '')] })).size, size - 1);
    }
  });
}

test('the same graph comes from the file, from the chain, from a file without dates and from objects', async (t) => {
  const [history = []] = fc.sample(histories(100), { numRuns: 1, seed: 12 });
  const sizes = new Set<string>();
  const writes = [
    [],
    ['commit-graph', 'write', '--reachable'],
    ['-c', 'commitGraph.generationVersion=1', 'commit-graph', 'write', '--reachable'],
  ];
  for (const write of [...writes, 'chain'] as const) {
    const repository = make(t);
    const half = writeHistory(repository, history.slice(0, 50));
    if (write === 'chain') repository.git('commit-graph', 'write', '--reachable', '--split=no-merge');
    const ids = writeHistory(repository, history, half.length);
    if (write === 'chain') repository.git('commit-graph', 'write', '--reachable', '--split=no-merge');
    else if (write.length > 0) repository.git(...write);
    const { repositories, loaded } = await open(t, repository);
    const found: number[] = [];
    for (const end of ids) found.push((await repositories.range('r', between(ids[0] ?? '', end))).size);
    sizes.add(found.join());
    await until('it is loaded', () => loaded().length > 0);
    t.like(loaded(), [
      { source: write.length === 0 ? 'objects' : 'repository', imported: write.length === 0 ? history.length : 0 },
    ]);
  }
  t.is(sizes.size, 1);
});

const damages: Record<string, (path: string) => void> = {
  'a flipped byte': (path) => {
    const bytes = readFileSync(path);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  },
  'a cut end': (path) => truncateSync(path, 1_500),
  'nothing in it': (path) => truncateSync(path, 0),
  'something after its end': (path) => appendFileSync(path, 'x'),
  'another version': (path) => {
    const bytes = readFileSync(path);
    bytes[4] = 9;
    writeFileSync(path, bytes);
  },
};

for (const [what, damage] of Object.entries(damages)) {
  test(`a commit-graph with ${what} is told and done without`, async (t) => {
    const repository = make(t);
    const ids = writeHistory(repository, line(300));
    repository.git('commit-graph', 'write', '--reachable');
    const path = join(repository.path, 'objects/info/commit-graph');
    chmodSync(path, 0o644);
    damage(path);
    const { repositories, log, loaded } = await open(t, repository);
    const range = await repositories.range('r', between(ids[100] ?? '', ids[299] ?? ''));
    t.is(
      range.size,
      1 + Number(repository.git('-c', 'core.commitGraph=false', 'rev-list', '--count', `${ids[100]}..${ids[299]}`)),
    );
    t.like(loaded(), [{ source: 'objects', imported: 300 }]);
    const warning = log.lines.find(({ message }) => message === 'commit-graph not used');
    t.is(warning?.facts.repository, 'r');
    t.true(String(warning?.facts.problem).includes(path));
  });
}

test('commits made after loading are picked up, of moved, rewritten and deleted branches too', async (t) => {
  const repository = make(t, {});
  const root = repository.commit({ file: 'root' });
  const { repositories, loaded } = await open(t, repository);
  const size = async (minimum: string, end: string) => (await repositories.range('r', between(minimum, end))).size;
  t.is(await size(root, 'main'), 1);
  for (let i = 0; i < 5; i++) repository.commit({ file: `a${i}` });
  t.is(await size(root, 'main'), 6);
  const gone = repository.commit({ file: 'gone' });
  t.is(await size(root, 'main'), 7);
  repository.git('reset', '--quiet', '--hard', 'main~3');
  t.is(await size(root, 'main'), 4);
  t.is(await size(root, gone), 7);
  t.is(await size(gone, 'main'), 1);
  repository.git('checkout', '--quiet', '--orphan', 'other');
  const other = repository.commit({ file: 'other' });
  t.is(await size(root, 'other'), 2);
  repository.git('checkout', '--quiet', 'main');
  repository.git('merge', '--quiet', '--allow-unrelated-histories', '-s', 'ours', '-m', 'Both', 'other');
  t.is(await size(root, 'main'), 6);
  t.is(await size(other, 'main'), 6);
  repository.git('branch', '-D', 'other');
  await t.throwsAsync(size(root, 'other'), { instanceOf: MemoirError });
  t.is(loaded().length, 1);
});

test('many new commits at once are loaded afresh', async (t) => {
  const repository = make(t);
  const before = writeHistory(repository, line(100));
  const { repositories, loaded } = await open(t, repository, { patience: 100_000 });
  t.is((await repositories.range('r', between('c0', 'c99'))).size, 100);
  t.is(before.length, 100);
  const input = Array.from({ length: 50_000 }, (_, i) => {
    const from = i === 0 ? 'from refs/heads/c99^0\n' : '';
    return `commit refs/heads/long\ncommitter A <a@b> ${1_800_000_000 + i} +0000\ndata 1\nx\n${from}`;
  });
  repository.gitWithInput(input.join('\n'), 'fast-import', '--quiet');
  t.is((await repositories.range('r', between('c0', 'long'))).size, 50_100);
  t.is((await repositories.range('r', between('long~10', 'long'))).size, 11);
  t.is(await repositories.resolve('r', 'long~50000'), before[99] ?? '');
  t.is(loaded().length, 2);
});

test('a range that is asked while a long import runs waits or is told the progress, and is whole later', async (t) => {
  const repository = make(t);
  const input = Array.from(
    { length: 30_000 },
    (_, i) => `commit refs/heads/main\ncommitter A <a@b> ${i} +0000\ndata 1\nx\n`,
  );
  repository.gitWithInput(input.join('\n'), 'fast-import', '--quiet');
  const { repositories } = await open(t, repository, { patience: 1 });
  const error = await t.throwsAsync(repositories.range('r', between('main~1', 'main')), { instanceOf: MemoirError });
  t.is(error?.code, 'UNAVAILABLE');
  t.is(error?.reason, 'HISTORY_LOADING');
  t.regex(error?.message ?? '', /"r".* [0-9]+ commits so far/);
  for (;;) {
    const range = await repositories.range('r', between('main~200', 'main')).catch(() => undefined);
    if (range) {
      t.is(range.size, 201);
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test('a range of a shallow repository is refused, its commits are not; going back ends at the cut', async (t) => {
  const origin = make(t, {});
  const ids = Array.from({ length: 6 }, (_, i) => origin.commit({ file: `${i}` }));
  const [, , , fourth = ''] = ids;
  const path = join(makeDirectory(t), 'shallow');
  execFileSync('git', ['clone', '--quiet', '--depth=3', `file://${origin.path}`, path], { env: gitEnvironment() });
  const { repositories } = await open(t, { ...origin, path });
  t.is(await repositories.resolve('r', 'HEAD~2'), fourth);
  const cut = await t.throwsAsync(repositories.resolve('r', 'HEAD~3'), { instanceOf: MemoirError });
  t.is(cut?.reason, 'UNRESOLVABLE_REFSPEC');
  t.is(
    (await t.throwsAsync(repositories.resolve('r', 'HEAD~2^'), { instanceOf: MemoirError }))?.reason,
    'UNRESOLVABLE_REFSPEC',
  );
  const error = await t.throwsAsync(repositories.range('r', between('HEAD~2', 'HEAD')), { instanceOf: MemoirError });
  t.is(error?.code, 'FAILED_PRECONDITION');
  t.is(error?.reason, 'SHALLOW_REPOSITORY');
  t.is((await repositories.range('r', between('HEAD', 'HEAD'))).size, 1);
  t.is((await repositories.range('r', { end: named('HEAD') })).size, 1);
});

test('a missing commit in the history is told; a branch that does not reach it goes on', async (t) => {
  const repository = make(t, {});
  const ids = Array.from({ length: 5 }, (_, i) => repository.commit({ file: `${i}` }));
  repository.git('branch', 'early', 'main~3');
  const [, , missing = ''] = ids;
  rmSync(join(repository.path, '.git/objects', missing.slice(0, 2), missing.slice(2)));
  const { repositories, log } = await open(t, repository);
  t.is((await repositories.range('r', between(ids[0] ?? '', 'early'))).size, 2);
  t.true(log.lines.some(({ facts }) => String(facts.problem).includes(missing)));
  const error = await t.throwsAsync(repositories.range('r', between(ids[0] ?? '', 'main')), {
    instanceOf: MemoirError,
  });
  t.is(error?.code, 'DATA_LOSS');
  t.true(error?.message.includes('"r"') && error.message.includes(missing), error?.message);
  t.is((await repositories.range('r', between(ids[0] ?? '', 'early'))).size, 2);
});

test('what is kept of one repository is not used for another of the same name', async (t) => {
  const directory = makeDirectory(t);
  for (const shift of [0, 1]) {
    const repository = make(t);
    const ids = writeHistory(
      repository,
      line(1_200).map(({ parents, date }) => ({ parents, date: date + shift })),
    );
    const { repositories, loaded } = await open(t, repository, { directory });
    t.is((await repositories.range('r', between(ids[0] ?? '', ids[1199] ?? ''))).size, 1_200);
    t.like(loaded(), [{ source: 'objects', written: true }]);
  }
  t.is(readdirSync(directory).length, 2);
  t.true(readdirSync(directory).every((name) => existsSync(join(directory, name, 'info/commit-graph'))));
});

test('a directory that cannot be written to is told and done without', async (t) => {
  const repository = make(t);
  writeHistory(repository, line(1_200));
  const directory = join(makeDirectory(t), 'file');
  writeFileSync(directory, 'not a directory');
  const { repositories, log } = await open(t, repository, { directory });
  t.is((await repositories.range('r', between('c0', 'c1199'))).size, 1_200);
  t.true(log.lines.some(({ facts }) => String(facts.problem).includes(directory)));
});
