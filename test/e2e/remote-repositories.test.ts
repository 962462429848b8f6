import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import { serverConfig } from '../../src/config.js';
import { systemEdge } from '../../src/edge.js';
import { serveDaemon } from '../support/git-daemon.js';
import { serveGit } from '../support/git-http-server.js';
import { gitEnvironment } from '../support/git-repository.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { complete, find, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';

const project = makeProject();
const origin = await serveGit(dirname(project.repository.path));
const remotes = serverConfig.shape.remotes.parse({
  allowed_hosts: ['127.0.0.1'],
  allow_http: true,
  allow_private_addresses: true,
  refresh_after: 0,
});
const url = `${origin.url}/${basename(project.repository.path)}/.git`;
const server = await startTestServer({ settings: { repositories: { project: { url } }, remotes } });
const ada = server.as('ada');

test.after.always(async () => {
  await server.dispose();
  await origin.close();
  project.repository.dispose();
});

test.serial(
  'a job is taken from a repository that is fetched, and reused when its branch is named again',
  async (t) => {
    const made = await find(ada, { scriptVersion: 'old' });
    t.is(made.job?.scriptVersion, project.first);
    await complete(ada, uuidOf(made));
    t.is(uuidOf(await find(ada, { scriptVersion: 'main', minimumScriptVersion: 'old' })), uuidOf(made));
    project.repository.git('branch', '--force', 'old', project.second);
    const moved = await find(ada, { scriptVersion: 'old' });
    t.is(moved.job?.scriptVersion, project.second, 'a branch that moved is seen');
  },
);

test.serial('a server that cannot be fetched from is UNAVAILABLE, not a stale answer', async (t) => {
  origin.instead = (_request, response) => void response.writeHead(500).end();
  const error = await failure(t, () => find(ada, { scriptVersion: 'main' }));
  t.is(error.reason, 'MIRROR_UNAVAILABLE');
  origin.instead = undefined;
  t.truthy((await find(ada, { scriptVersion: 'main' })).job);
});

test('a commit that its remote lost weeks ago stays in the mirror where a job is of it, of whatever state, and else goes', async (t) => {
  const { repository } = makeProject();
  t.teardown(repository.dispose);
  const away = await serveGit(dirname(repository.path));
  t.teardown(() => away.close());
  const time = { passed: 0 };
  const edge = {
    ...systemEdge,
    now: () => Date.now() + time.passed,
    monotonic: () => performance.now() + time.passed,
  };
  const place = `${away.url}/${basename(repository.path)}/.git`;
  const own = await startTestServer({ edge, settings: { repositories: { project: { url: place } }, remotes } });
  t.teardown(own.dispose);
  const eva = own.as('eva');
  const directory = join(own.config.data_dir, 'git');
  const has = (commit: string) => {
    const mirror = readdirSync(directory).find((name) => name.startsWith('project')) ?? '';
    const cwd = join(directory, mirror, 'fetched.git');
    return spawnSync('git', ['cat-file', '-e', commit], { cwd, env: gitEnvironment() }).status === 0;
  };
  const fork = (text: string) => {
    repository.git('checkout', '--quiet', '--detach', 'main');
    const commit = repository.commit({ 'run.sh': `#!/bin/sh\necho ${text}\n` });
    repository.git('branch', '--force', 'side', commit);
    repository.git('checkout', '--quiet', 'main');
    return commit;
  };
  const made: string[] = [];
  for (const text of ['one', 'two', 'three']) {
    const commit = fork(text);
    const { job } = await find(eva, { scriptVersion: 'side' });
    t.is(job?.scriptVersion, commit);
    made.push(commit);
    const uuid = job?.uuid ?? '';
    if (text === 'two') await complete(eva, uuid);
    if (text === 'three') {
      await eva.jobs.cancelJob({ uuid });
      await eva.jobs.deleteJob({ uuid });
    }
  }
  const unused = fork('nobody has a job of it');
  const main = { repository: 'project', refspec: 'main' };
  await eva.repositories.resolveRefspec(main);
  repository.git('branch', '--quiet', '-D', 'side');
  await eva.repositories.resolveRefspec(main);
  t.true(has(unused));
  time.passed += 15 * 86_400_000;
  await eva.repositories.resolveRefspec(main);
  await until('what nobody has a job of is gone', () => !has(unused));
  for (const commit of made) t.true(has(commit), commit);
});

test('a remote repository that no rule allows keeps the server from starting', async (t) => {
  const settings = { repositories: { project: { url } }, remotes: serverConfig.shape.remotes.parse({}) };
  const error = await t.throwsAsync(startTestServer({ settings }));
  t.regex(error?.message ?? '', /repository "project" at "http:.*: /);
});

test('a job is taken from a repository of a git daemon where that is allowed', async (t) => {
  const daemon = await serveDaemon(dirname(project.repository.path));
  t.teardown(() => daemon.close());
  const repositories = { project: { url: `${daemon.url}/${basename(project.repository.path)}/.git` } };
  const settings = { repositories, remotes: { ...remotes, allow_http: false, allow_git: true } };
  const other = await startTestServer({ settings });
  t.teardown(other.dispose);
  t.is((await find(other.as('ada'), { scriptVersion: project.first })).job?.scriptVersion, project.first);
  const refused = startTestServer({ settings: { repositories, remotes } });
  t.regex((await t.throwsAsync(refused))?.message ?? '', /scheme "git:" is not allowed/);
});
