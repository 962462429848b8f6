import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { findKept, keptPath } from '../../src/git/kept/kept-repository.js';
import { serveGit } from '../support/git-http-server.js';
import { gitEnvironment } from '../support/git-repository.js';
import { type Memoir, startTestServer, until } from '../support/memoir.js';

const keptRoot = ({ directory }: Memoir) => join(directory, 'data/git/kept');

function script({ repository }: Pick<Memoir, 'repository'>, text: string, more: Record<string, string> = {}): string {
  writeFileSync(join(repository.path, 'run'), `#!/bin/sh\n${text}\n`);
  chmodSync(join(repository.path, 'run'), 0o755);
  return repository.commit(more);
}

/** Makes a repository lose the youngest commit of its branch, as a force-push and the passing of months do. */
function lose({ repository }: Memoir, commit: string): void {
  repository.git('reset', '--quiet', '--hard', `${commit}^`);
  repository.git('reflog', 'expire', '--expire=now', '--expire-unreachable=now', '--all');
  repository.git('gc', '--quiet', '--prune=now');
}

function fsck(path: string): string {
  const said = execFileSync('git', ['--git-dir', path, 'fsck', '--full', '--strict', '--no-dangling'], {
    env: gitEnvironment(),
    encoding: 'utf8',
  });
  return said.replace(/^notice: .*\n/gm, '');
}

function keptOf(memoir: Memoir, uuid: string, commit: string): Promise<string> {
  return until(() => findKept(keptRoot(memoir), 'demo', uuid, commit), 'the commit is kept');
}

/** A worker that has no repository, until the queue is empty. */
async function workWithKept(t: ExecutionContext, memoir: Memoir, ...args: string[]): Promise<void> {
  const worker = memoir.start(
    [
      'worker',
      '--kept',
      keptRoot(memoir),
      '--store-dir',
      memoir.storeDirectory,
      '--work-dir',
      memoir.directory,
      '--once',
      ...args,
    ],
    { env: { MEMOIR_PRINCIPAL: 'worker-1' } },
  );
  t.is(await worker.ended(), 0, worker.errors());
}

test.serial('a job runs although its commit is lost, by a worker with the repository and by one without', async (t) => {
  const memoir = await startTestServer(t, ['--keep-commits']);
  script(memoir, 'echo first');
  const commit = script(memoir, 'cat beside > "$MEMOIR_OUTPUT/out"', { beside: 'still here' });
  const uuids = [await memoir.submit('run', { n: 1 }), await memoir.submit('run', { n: 2 })];
  for (const uuid of uuids) await keptOf(memoir, uuid, commit);
  lose(memoir, commit);
  t.throws(() => memoir.repository.git('cat-file', '-e', commit));
  await workWithKept(t, memoir, '--repository', `demo=${memoir.repository.path}`);
  const more = (await memoir.run(['get', uuids[0] ?? '', '--json'])).out;
  t.regex(more, /"Complete"|COMPLETE/);
  for (const uuid of uuids) {
    const job = await memoir.get(uuid);
    t.is(job.state, JobState.COMPLETE, job.failureMessage);
    t.is(job.scriptVersion, commit);
  }
  t.is(fsck(keptPath(keptRoot(memoir), 'demo', memoir.repository.path)), '');
  const next = script(memoir, 'exit 0', { more: '' });
  const last = await memoir.submit('run', { n: 3 });
  await workWithKept(t, memoir);
  t.is((await memoir.get(last)).state, JobState.COMPLETE);
  t.is((await memoir.get(last)).scriptVersion, next);
  t.is(await memoir.server().stop(), 0);
});

test.serial('a worker runs jobs of a repository that the server fetches from elsewhere', async (t) => {
  let close = async () => {};
  t.teardown(() => close());
  const settings = (url: string) =>
    `[repositories.demo]\nurl = "${url}"\n[remotes]\nallowed_hosts = ["127.0.0.1"]\nallow_http = true\nallow_private_addresses = true\n`;
  let file = '';
  const origin = await serveGit('/');
  close = origin.close;
  const memoir = await startTestServer(t, ['--keep-commits'], (path) => {
    file = join(path, '.git/memoir.toml');
    writeFileSync(file, settings(`${origin.url}${path}/.git`));
    return ['--config', file];
  });
  script(memoir, 'cat > "$MEMOIR_OUTPUT/out"');
  const uuid = await memoir.submit('run');
  const other = memoir.start(['worker', '--config', file, '--store-dir', memoir.storeDirectory, '--once']);
  t.is(await other.ended(), 2, 'without --kept there is nothing that it could run');
  await workWithKept(t, memoir, '--config', file);
  const job = await memoir.get(uuid);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
});

test.serial('after kill -9 in the middle of a copy the next server goes on with it', async (t) => {
  const memoir = await startTestServer(t, ['--keep-commits']);
  script(memoir, 'exit 0');
  const files = Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`d${i % 9}/${i}`, `content ${i}`]));
  const commit = script(memoir, 'cat d1/1 > "$MEMOIR_OUTPUT/out"', files);
  const uuid = await memoir.submit('run');
  const path = keptPath(keptRoot(memoir), 'demo', memoir.repository.path);
  await until(() => existsSync(join(path, 'objects/a0')), 'copying has begun');
  await memoir.server().stop('SIGKILL');
  t.is(findKept(keptRoot(memoir), 'demo', uuid, commit), undefined, 'it was not in the middle');
  t.is(fsck(path), '');
  writeFileSync(join(path, 'objects/tmp_obj_memoir_9'), 'half');
  await memoir.restart();
  await keptOf(memoir, uuid, commit);
  t.deepEqual(
    readdirSync(join(path, 'objects')).filter((name) => name.startsWith('tmp')),
    [],
  );
  t.is(fsck(path), '');
  const list = ['--git-dir', path, 'ls-tree', '-r', commit];
  t.is(
    execFileSync('git', list, { env: gitEnvironment(), encoding: 'utf8' }).trimEnd(),
    memoir.repository.git('ls-tree', '-r', commit),
  );
  lose(memoir, commit);
  await workWithKept(t, memoir);
  t.is((await memoir.get(uuid)).state, JobState.COMPLETE);
});

test.serial('what cannot be kept is told and tried again, and holds up neither answers nor the end', async (t) => {
  const memoir = await startTestServer(t, ['--keep-commits']);
  const commit = script(memoir, 'exit 0');
  const path = keptPath(keptRoot(memoir), 'demo', memoir.repository.path);
  writeFileSync(path, 'in the way');
  const uuid = await memoir.submit('run');
  await until(() => /could not be kept; it is tried again/.test(memoir.server().errors()), 'the failure is logged');
  t.is((await memoir.get(uuid)).state, JobState.QUEUED);
  rmSync(path);
  t.is(await keptOf(memoir, uuid, commit), path);
  rmSync(path, { recursive: true });
  writeFileSync(path, 'again');
  await memoir.submit('run', { n: 1 });
  t.is(await memoir.server().stop(), 0, 'SIGTERM while something waits to be tried again');
});

test.serial('SIGTERM in the middle of a copy ends it in order', async (t) => {
  const memoir = await startTestServer(t, ['--keep-commits']);
  const files = Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`d${i % 9}/${i}`, `content ${i}`]));
  const commit = script(memoir, 'exit 0', files);
  const uuid = await memoir.submit('run');
  const path = keptPath(keptRoot(memoir), 'demo', memoir.repository.path);
  await until(() => existsSync(join(path, 'objects/a0')), 'copying has begun');
  t.is(await memoir.server().stop(), 0);
  t.is(findKept(keptRoot(memoir), 'demo', uuid, commit), undefined, 'it was not in the middle');
  t.deepEqual(
    readdirSync(join(path, 'objects')).filter((name) => name.startsWith('tmp')),
    [],
    'nothing half is left',
  );
  t.is(fsck(path), '');
});

test.serial('without the setting nothing is kept, and a worker is told that there is no such directory', async (t) => {
  const memoir = await startTestServer(t);
  script(memoir, 'exit 0');
  await memoir.submit('run');
  t.false(existsSync(keptRoot(memoir)));
  const refused = await memoir.run([
    'worker',
    '--kept',
    keptRoot(memoir),
    '--store-dir',
    memoir.storeDirectory,
    '--once',
  ]);
  t.is(refused.code, 2);
  t.regex(refused.err, /--kept ".*kept" is no directory/);
});

test.serial('a job of a SHA-256 repository runs from its repository, and from what was kept of it', async (t) => {
  const memoir = await startTestServer(t, ['--keep-commits'], undefined, { objectFormat: 'sha256' });
  const commit = script(memoir, 'cat beside > "$MEMOIR_OUTPUT/out"', { beside: 'x'.repeat(10_000) });
  t.is(commit.length, 64);
  memoir.repository.git('gc', '--quiet');
  const first = await memoir.submit('run', { n: 1 });
  t.is(await memoir.worker('--once').ended(), 0);
  const job = await memoir.get(first);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.is(job.scriptVersion, commit);
  const second = await memoir.submit('run', { n: 2 });
  await keptOf(memoir, second, commit);
  script(memoir, 'exit 1');
  lose(memoir, memoir.repository.git('rev-parse', 'HEAD'));
  await workWithKept(t, memoir);
  const kept = await memoir.get(second);
  t.is(kept.state, JobState.COMPLETE, kept.failureMessage);
  t.is(kept.output, job.output);
  t.is(fsck(keptPath(keptRoot(memoir), 'demo', memoir.repository.path)), '');
});
