import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openRepositories } from '../../../src/git/repositories.js';
import { serveGit } from '../../support/git-http-server.js';
import { gitEnvironment, makeRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';
import { until } from '../../support/until.js';

const day = 86_400_000;

async function scene(t: ExecutionContext) {
  const origin = makeRepository();
  t.teardown(origin.dispose);
  const server = await serveGit(dirname(origin.path));
  t.teardown(() => server.close());
  const directory = mkdtempSync(join(tmpdir(), 'memoir-mirror-prune-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const clock = { days: 20_000 };
  const jobs: { commits: string[] | undefined; asked: number; wait: Promise<void> } = {
    commits: [],
    asked: 0,
    wait: Promise.resolve(),
  };
  const said: string[] = [];
  const open = () =>
    openRepositories(
      { r: { url: `${server.url}/${basename(origin.path)}/.git` } },
      {
        directory,
        patience: 100_000,
        edge: { now: () => clock.days * day, monotonic: () => performance.now() + clock.days * day },
        remotes: {
          allowedHosts: ['127.0.0.1'],
          allowHttp: true,
          allowPrivateAddresses: true,
          refreshAfter: 0,
          pruneEvery: 0,
        },
        log: {
          info: (facts, message) => said.push(`${message} ${JSON.stringify(facts)}`),
          warn: (facts, message) => said.push(`${message} ${JSON.stringify(facts)}`),
        },
        commitsOfJobs: async (name) => {
          t.is(name, 'r');
          jobs.asked++;
          await jobs.wait;
          return jobs.commits;
        },
      },
    );
  const repositories = await open();
  t.teardown(() => repositories.close());
  const fetched = () => join(directory, readdirSync(directory)[0] ?? '', 'fetched.git');
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: fetched(), env: gitEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  const has = (id: string) => {
    try {
      git('cat-file', '-e', id);
      return true;
    } catch {
      return false;
    }
  };
  return { origin, repositories, open, clock, jobs, said, git, has };
}

test('what a remote lost goes from its mirror after a while, but no commit of a job', async (t) => {
  const { origin, repositories, clock, jobs, said, git, has } = await scene(t);
  /** Fetches until a look came to its end, as the next fetch waits for it. */
  const fetch = async () => {
    await repositories.resolve('r', 'main');
    return repositories.resolve('r', 'main');
  };
  const base = origin.commit({ file: 'x'.repeat(5_000) });
  const forced = [
    origin.commit({ file: `${'x'.repeat(5_000)}1` }),
    origin.commit({ file: `${'x'.repeat(5_000)}2`, own: '1' }),
  ] as const;
  const [, ofJob] = forced;
  t.is(await fetch(), ofJob);
  origin.git('reset', '--quiet', '--hard', base);
  const [otherParent, other] = [origin.commit({ other: '1' }), origin.commit({ other: '2' })];
  t.is(await fetch(), other);
  origin.git('reset', '--quiet', '--hard', base);
  const last = origin.commit({ last: '1' });
  t.is(await fetch(), last);
  jobs.commits = [ofJob, 'ab'.repeat(20)];

  // Two weeks are not over.
  clock.days += 13;
  await fetch();
  t.is(jobs.asked, 0);
  t.true(has(other));
  // It cannot be told which commits jobs have.
  clock.days += 2;
  jobs.commits = undefined;
  await fetch();
  t.true(jobs.asked > 0);
  t.true(has(other));

  jobs.commits = [ofJob, 'ab'.repeat(20)];
  await fetch();
  await until('removed', () => said.some((line) => line.startsWith('unreachable objects removed')));
  t.false(has(other));
  t.false(has(otherParent));
  for (const id of [base, ...forced, last]) t.true(has(id), id);
  git('update-ref', 'refs/memoir/test', ofJob);
  t.is(git('fsck', '--full', '--strict', '--no-dangling'), '');
  git('update-ref', '-d', 'refs/memoir/test');

  // What went is fetched again like anything new, and stays as long as it is named.
  origin.git('reset', '--quiet', '--hard', other);
  t.is(await fetch(), other);
  t.true(has(otherParent));
  clock.days += 30;
  const asked = jobs.asked;
  await fetch();
  await fetch();
  t.true(jobs.asked > asked);
  for (const id of [base, ...forced, other]) t.true(has(id), id);
  t.false(has(last));
  t.is(git('fsck', '--full', '--strict', '--no-dangling'), '');
  t.deepEqual(
    said.filter((line) => line.includes('stay in mirror')),
    [],
  );
});

test('a commit that was named just now stays: a job may be made of it', async (t) => {
  const { origin, repositories, clock, said, has } = await scene(t);
  const base = origin.commit({ file: '1' });
  const [parent, named] = [origin.commit({ file: '2' }), origin.commit({ file: '3' })];
  await repositories.resolve('r', 'main');
  origin.git('reset', '--quiet', '--hard', base);
  const other = origin.commit({ file: '4' });
  await repositories.resolve('r', 'main');
  origin.git('reset', '--quiet', '--hard', base);
  await repositories.resolve('r', 'main');
  // Whoever named a commit two weeks ago has made a job of it, or will not.
  clock.days += 15;
  t.is(await repositories.resolve('r', named), named);
  await repositories.resolve('r', 'main');
  await repositories.resolve('r', 'main');
  await until('removed', () => said.some((line) => line.startsWith('unreachable objects')));
  for (const id of [base, parent, named]) t.true(has(id), id);
  t.false(has(other));
});

test('a fetch that is wanted meanwhile waits until what is unreachable is gone', async (t) => {
  const { origin, repositories, clock, jobs, said, git, has } = await scene(t);
  const base = origin.commit({ file: '1' });
  const other = origin.commit({ file: '2' });
  await repositories.resolve('r', 'main');
  origin.git('reset', '--quiet', '--hard', base);
  await repositories.resolve('r', 'main');
  clock.days += 15;
  let goOn = () => {};
  jobs.wait = new Promise((resolve) => {
    goOn = resolve;
  });
  await repositories.resolve('r', 'main');
  await until('commits of jobs are asked for', () => jobs.asked === 1);
  // It names again what is about to go.
  origin.git('reset', '--quiet', '--hard', other);
  const last = origin.commit({ file: '3' });
  const resolved = repositories.resolve('r', 'main');
  goOn();
  t.is(await resolved, last);
  t.is(said.filter((line) => line.startsWith('unreachable objects removed')).length, 1);
  t.true(has(other));
  t.is(git('fsck', '--full', '--strict', '--no-dangling'), '');
});

test('a server that ends while what is unreachable goes leaves all that is reached, and what came again', async (t) => {
  const { origin, open, clock, jobs, git, has } = await scene(t);
  const base = origin.commit({ file: 'x'.repeat(10_000) });
  for (let round = 0; round < rounds(6, 200); round++) {
    const running = await open();
    origin.git('reset', '--quiet', '--hard', base);
    const forked = [1, 2, 3].map((n) =>
      origin.commit({ file: `${round} ${n} ${'x'.repeat(10_000)}`, [`f${n}`]: `${round}` }),
    );
    await running.resolve('r', 'main');
    origin.git('reset', '--quiet', '--hard', base);
    const job = origin.commit({ job: `${round}` });
    await running.resolve('r', 'main');
    jobs.commits?.push(job);
    origin.git('reset', '--quiet', '--hard', base);
    const own = origin.commit({ own: `${round}` });
    await running.resolve('r', 'main');
    clock.days += 15;
    const asked = jobs.asked;
    await running.resolve('r', 'main');
    await until('commits of jobs are asked for', () => jobs.asked > asked);
    // Anywhere in it.
    await new Promise((resolve) => setTimeout(resolve, (round * 7) % 40));
    await running.close();
    const again = await open();
    if (round % 2 === 0) origin.git('reset', '--quiet', '--hard', forked[1] as string);
    else origin.commit({ new: `${round}` });
    const tip = origin.git('rev-parse', 'main');
    t.is(await again.resolve('r', 'main'), tip);
    await again.resolve('r', 'main');
    for (const id of [base, own, tip, ...(jobs.commits ?? [])]) t.true(has(id), `round ${round}: ${id}`);
    t.is(git('fsck', '--full', '--strict', '--no-dangling'), '');
    await again.close();
  }
});
