import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type Memoir, startTestServer, until } from '../support/memoir.js';

/** Commits executable scripts. */
function scripts({ repository }: Memoir, files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(repository.path, name)), { recursive: true });
    writeFileSync(join(repository.path, name), text);
    chmodSync(join(repository.path, name), 0o755);
  }
  return repository.commit({});
}

function content({ storeDirectory }: Memoir, digest: string): Buffer {
  const bytes = readFileSync(join(storeDirectory, 'sha256', digest.slice(0, 2), digest.slice(2)));
  if (createHash('sha256').update(bytes).digest('hex') !== digest) throw new Error(`${digest} is damaged`);
  return bytes;
}

type Manifest = { files: { path: string; sha256: string; size: number; executable: boolean; symlink?: string }[] };

function manifest(memoir: Memoir, address: string): Manifest {
  return JSON.parse(content(memoir, address.replace(/^sha256:/, '')).toString()) as Manifest;
}

function logOf(memoir: Memoir, job: Job): Buffer {
  const [file] = manifest(memoir, job.log).files;
  return content(memoir, file?.sha256 ?? '');
}

function workDirectories({ directory }: Memoir): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('memoir-worker-'));
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test.serial('a script gets what it was promised, and what it makes is kept', async (t) => {
  const memoir = await startTestServer(t);
  const commit = scripts(memoir, {
    'bin/run': [
      '#!/bin/sh',
      'cat > "$MEMOIR_OUTPUT/stdin"; cp "$MEMOIR_PARAMETERS" "$MEMOIR_OUTPUT/file"',
      'env | cut -d= -f1 | grep -v -e ^_ -e ^OLDPWD -e ^SHLVL | sort > "$MEMOIR_OUTPUT/env"',
      'printf "%s %s %s" "$MEMOIR_SCRIPT_VERSION" "$TZ" "$SECRET" > "$MEMOIR_OUTPUT/version"',
      'test "$(pwd)" = "$(dirname "$(dirname "$(realpath "$0")")")" && test -f beside.txt || exit 9',
      'mkdir "$MEMOIR_OUTPUT/d"; ln -s ../stdin "$MEMOIR_OUTPUT/d/link"; chmod +x "$MEMOIR_OUTPUT/file"',
      'echo out; echo err >&2; printf "\\377\\303"; printf "\\244"; test "$HOME" = "$MEMOIR_TMP" && echo x > "$HOME/x"',
      'echo \'{"progress":0.25,"message":"first"}\' > "$MEMOIR_PROGRESS"',
      'echo \'{"progress":1,"tasks":{"done":3}}\' >> "$MEMOIR_PROGRESS"',
    ].join('\n'),
    'beside.txt': '',
  });
  const uuid = await memoir.submit('bin/run', { z: 'ä', a: 1 });
  const worker = memoir.start(
    [
      'worker',
      '--repository',
      `demo=${memoir.repository.path}`,
      '--store-dir',
      memoir.storeDirectory,
      '--once',
      '--pass-env',
      'SECRET',
      '--work-dir',
      memoir.directory,
    ],
    { env: { SECRET: 'passed', OTHER: 'not passed', MEMOIR_PRINCIPAL: 'worker-1' } },
  );
  t.is(await worker.ended(), 0, worker.errors());
  const job = await memoir.get(uuid);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.is(job.claimedBy, 'worker-1');
  const { files } = manifest(memoir, job.output);
  t.deepEqual(
    files.map(({ path }) => path),
    ['d/link', 'env', 'file', 'stdin', 'version'],
  );
  const read = (path: string) => content(memoir, files.find((file) => file.path === path)?.sha256 ?? '').toString();
  t.is(files[0]?.symlink, '../stdin');
  t.true(files.find(({ path }) => path === 'file')?.executable);
  t.is(read('stdin'), '{"a":1,"z":"ä"}');
  t.is(read('file'), '{"a":1,"z":"ä"}');
  t.is(read('version'), `${commit} UTC passed`);
  t.deepEqual(read('env').trimEnd().split('\n'), [
    ...['HOME', 'LANG', 'MEMOIR_JOB_UUID', 'MEMOIR_OUTPUT', 'MEMOIR_PARAMETERS', 'MEMOIR_PROGRESS'],
    ...['MEMOIR_SCRIPT_VERSION', 'MEMOIR_TMP', 'PATH', 'PWD', 'SECRET', 'TMPDIR', 'TZ'],
  ]);
  t.deepEqual(logOf(memoir, job), Buffer.concat([Buffer.from('out\nerr\n'), Buffer.of(0xff, 0xc3, 0xa4)]));
  t.is((await memoir.run(['log', uuid])).out, 'out\nerr\n\ufffdä');
  t.is(job.tasksSummary?.done, 3);
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('what goes wrong fails the job with a reason that helps', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, {
    'exit-3': '#!/bin/sh\necho before; exit 3\n',
    killed: '#!/bin/sh\nkill -KILL $$\n',
    'no-interpreter': '#!/no/such/interpreter\n',
    'no-format': 'echo a shell ran it\n',
    empty: '',
    fifo: '#!/bin/sh\nmkfifo "$MEMOIR_OUTPUT/pipe"\n',
    gone: '#!/bin/sh\nrm -r "$MEMOIR_OUTPUT"\n',
    locked: '#!/bin/sh\nmkdir -p a/b; chmod 0 a/b a; chmod 0 .; exit 4\n',
  });
  writeFileSync(join(memoir.repository.path, 'not-executable'), '#!/bin/sh\n');
  memoir.repository.git('config', 'core.symlinks', 'true');
  memoir.repository.commit({ 'dir/file': '' });
  const link = memoir.repository.gitWithInput('/bin/true', 'hash-object', '-w', '--stdin');
  memoir.repository.git('update-index', '--add', '--cacheinfo', `120000,${link},outside`);
  memoir.repository.git('commit', '--quiet', '--message=link');

  const cases: [script: string, reason: string, message: RegExp][] = [
    ['exit-3', 'SCRIPT_FAILED', /"exit-3" exited with code 3/],
    ['killed', 'SCRIPT_FAILED', /"killed" was ended by SIGKILL/],
    [
      'not-executable',
      'SCRIPT_NOT_EXECUTABLE',
      /"not-executable" in commit [0-9a-f]{40} is not marked as executable; run "git/,
    ],
    ['no-interpreter', 'SCRIPT_NOT_EXECUTABLE', /interpreter that its first line names does not exist/],
    ['no-format', 'SCRIPT_NOT_EXECUTABLE', /begins neither with "#!"/],
    ['empty', 'SCRIPT_NOT_EXECUTABLE', /begins neither with "#!"/],
    ['dir', 'SCRIPT_NOT_EXECUTABLE', /is a directory/],
    ['missing', 'SCRIPT_NOT_FOUND', /there is no "missing" in commit/],
    ['dir/file/x', 'SCRIPT_NOT_FOUND', /ENOTDIR/],
    ['outside', 'SCRIPT_OUTSIDE_TREE', /leaves the tree/],
    ['fifo', 'UNSTORABLE_OUTPUT', /"pipe" in the output directory/],
    ['gone', 'UNSTORABLE_OUTPUT', /no longer a directory/],
    ['locked', 'SCRIPT_FAILED', /exited with code 4/],
  ];
  const uuids = await Promise.all(cases.map(([script]) => memoir.submit(script)));
  const worker = memoir.worker('--once', '--jobs', '3');
  t.is(await worker.ended(), 0, worker.errors());
  for (const [i, [script, reason, message]] of cases.entries()) {
    const job = await memoir.get(uuids[i] ?? '');
    t.is(job.state, JobState.FAILED, script);
    t.is(job.failureReason, reason, script);
    t.regex(job.failureMessage, message);
    if (script === 'exit-3') t.is(logOf(memoir, job).toString(), 'before\n');
  }
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('a cancelled job is killed with all that it started, and the worker goes on', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, {
    stubborn: [
      '#!/bin/sh',
      'trap "" TERM',
      '(trap "" TERM; while :; do sleep 1; done) & echo "$! $$"',
      'while :; do sleep 1; done',
    ].join('\n'),
    quick: '#!/bin/sh\n',
  });
  const uuid = await memoir.submit('stubborn');
  const worker = memoir.worker('--lease', '1', '--grace', '0.2');
  const log = memoir.start(['log', uuid]);
  const [, ...pids] = await log.says(/^(\d+) (\d+)\n/);
  t.true(pids.map(Number).every(alive));
  t.is((await memoir.run(['cancel', uuid])).code, 0);
  await until(() => !pids.map(Number).some(alive), 'both processes are gone');
  t.is((await memoir.get(uuid)).state, JobState.CANCELLED);
  t.is((await memoir.run(['submit', '--repository', 'demo', '--script', 'quick', '--wait'])).code, 0);
  t.is(await worker.stop(), 0, worker.errors());
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('a flood of output neither fills the memory nor stops the heartbeats', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, { flood: '#!/bin/sh\nhead -c 300000000 /dev/zero | tr "\\000" "\\303"; echo end\n' });
  const uuid = await memoir.submit('flood');
  const worker = memoir.worker('--lease', '2');
  let peak = 0;
  const job = await until(
    async () => {
      const status = readFileSync(`/proc/${worker.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
      const now = await memoir.get(uuid);
      return now.state === JobState.QUEUED || now.state === JobState.RUNNING ? undefined : now;
    },
    'the job ends',
    90_000,
  );
  t.is(job.state, JobState.COMPLETE, `${job.failureReason} ${job.failureMessage}`);
  t.is(manifest(memoir, job.log).files[0]?.size, 300_000_004);
  t.log(`the worker's peak memory: ${peak} KiB`);
  t.true(peak < 250_000, `the worker took ${peak} KiB`);
  const live = await memoir.run(['log', uuid]);
  t.is(live.out.replaceAll('\ufffd', ''), '');
  t.regex(live.err, /live log ends here, at its limit/);
  t.is(await worker.stop(), 0);
});

test.serial('a script that would fill the disk with its output is killed', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, { yes: '#!/bin/sh\nexec yes\n' });
  const uuid = await memoir.submit('yes');
  t.is(await memoir.worker('--once', '--log-limit', '1').ended(), 0);
  const job = await memoir.get(uuid);
  t.is(job.failureReason, 'LOG_TOO_LARGE');
  t.is(manifest(memoir, job.log).files[0]?.size, 1024 ** 2, 'no more than the limit is ever written');
});

test.serial('a worker that dies leaves its job to the lease, and its directory to the next worker', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, { slow: '#!/bin/sh\necho $$; exec sleep 600\n', quick: '#!/bin/sh\n' });
  const uuid = await memoir.submit('slow');
  const worker = memoir.worker('--lease', '1');
  const [, pid] = await memoir.start(['log', uuid]).says(/^(\d+)\n/);
  await worker.stop('SIGKILL');
  t.true(alive(Number(pid)));
  t.is(workDirectories(memoir).length, 1);
  const ended = await memoir.run(['watch', uuid]);
  t.is(ended.code, 1);
  const job = await memoir.get(uuid);
  t.is(job.failureReason, 'LEASE_EXPIRED');
  await memoir.submit('quick');
  t.is(await memoir.worker('--once').ended(), 0);
  t.deepEqual(workDirectories(memoir), []);
  t.false(alive(Number(pid)), 'the script of the dead worker is killed by the next');
});

test.serial('a worker that is told to end lets its job end in time', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, {
    wait: '#!/bin/sh\necho up; while ! test -e "$(dirname "$MEMOIR_OUTPUT")/../../go"; do sleep 0.05; done\n',
  });
  const first = await memoir.submit('wait');
  const second = await memoir.submit('wait', { n: 2 });
  const worker = memoir.worker('--drain-timeout', '60');
  await memoir.start(['log', first]).says(/up/);
  const ended = worker.stop();
  await until(() => worker.errors().includes('stopping'), 'the worker stops');
  writeFileSync(join(memoir.directory, 'go'), '');
  t.is(await ended, 0);
  t.is((await memoir.get(first)).state, JobState.COMPLETE);
  t.is((await memoir.get(second)).state, JobState.QUEUED);
});

test.serial('when that takes too long the job is killed and fails with WORKER_STOPPED', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, { slow: '#!/bin/sh\necho $$; sleep 600\n' });
  const uuid = await memoir.submit('slow');
  const worker = memoir.worker('--drain-timeout', '0.1');
  const [, pid] = await memoir.start(['log', uuid]).says(/^(\d+)\n/);
  t.is(await worker.stop(), 0);
  t.false(alive(Number(pid)));
  const job = await memoir.get(uuid);
  t.is(job.failureReason, 'WORKER_STOPPED');
  t.is(logOf(memoir, job).toString(), `${pid}\n`);
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('a run outlives a restart of the server, and its live log has every byte once', async (t) => {
  const memoir = await startTestServer(t);
  scripts(memoir, {
    counting:
      '#!/bin/sh\ni=0; while ! test -e "$(dirname "$MEMOIR_OUTPUT")/../../go"; do i=$((i+1)); echo "$i"; sleep 0.02; done\n',
  });
  const uuid = await memoir.submit('counting');
  const worker = memoir.worker('--lease', '60');
  const waiting = memoir.start(['watch', uuid]);
  await memoir.start(['log', uuid]).says(/^10\n/m);
  await memoir.server().stop('SIGKILL');
  await memoir.restart();
  await memoir.start(['log', uuid]).says(/^60\n/m);
  writeFileSync(join(memoir.directory, 'go'), '');
  t.is(await waiting.ended(), 0, waiting.errors());
  const job = await memoir.get(uuid);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  const lines = logOf(memoir, job).toString();
  t.is(lines, Array.from({ length: lines.trimEnd().split('\n').length }, (_, i) => `${i + 1}\n`).join(''));
  t.is((await memoir.run(['log', uuid])).out, lines);
  t.is(await worker.stop(), 0, worker.errors());
});
