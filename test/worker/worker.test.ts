import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { plainEnvironment } from '../../demo/program.js';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { makeRepository } from '../support/git-repository.js';
import { type Memoir, memoirOfFile, startTestServer, until } from '../support/memoir.js';
import { wanting } from '../support/required.js';

const memoirOf = memoirOfFile();

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

  const verify = ['store', 'verify', '--store-dir', memoir.storeDirectory, '--jobs'];
  const whole = await memoir.run(verify);
  t.is(whole.code, 0, whole.err);
  t.regex(whole.out, /^\d+ contents of \d+ bytes, 2 manifests, 1 complete jobs: all is there/);
  rmSync(join(memoir.storeDirectory, 'sha256', job.log.slice(7, 9), job.log.slice(9)));
  const lost = await memoir.run([...verify, '--json']);
  t.is(lost.code, 7);
  const [finding, summary] = lost.out.trimEnd().split('\n');
  t.deepEqual(JSON.parse(finding ?? ''), { kind: 'missing', address: job.log, of: `log of job ${uuid}` });
  t.like(JSON.parse(summary ?? ''), { kind: 'summary', jobs: 1, findings: 1 });
});

test.serial('what goes wrong fails the job with a reason that helps', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, {
    'exit-3': '#!/bin/sh\necho before; exit 3\n',
    killed: '#!/bin/sh\nkill -KILL $$\n',
    'no-interpreter': '#!/no/such/interpreter\n',
    'no-format': 'echo a shell ran it\n',
    empty: '',
    fifo: '#!/bin/sh\nmkfifo "$MEMOIR_OUTPUT/pipe"\n',
    gone: '#!/bin/sh\nrm -r "$MEMOIR_OUTPUT"\n',
    crlf: '#!/bin/sh\r\n',
    env: '#!/usr/bin/env sh\r\n',
    unknown: '#!/bin/sh\nno-such-program\n',
    dangling: '#!/bin/sh\nln -s ../tmp/x "$MEMOIR_OUTPUT/link"\n',
    log: '#!/bin/sh\nrm -r "$(dirname "$MEMOIR_OUTPUT")"/log*; echo kept; exit 5\n',
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
    ['no-interpreter', 'SCRIPT_NOT_EXECUTABLE', /interpreter that its first line names does not exist/],
    ['no-format', 'SCRIPT_NOT_EXECUTABLE', /begins neither with "#!"/],
    ['empty', 'SCRIPT_NOT_EXECUTABLE', /begins neither with "#!"/],
    ['outside', 'SCRIPT_OUTSIDE_TREE', /leaves the tree/],
    ['fifo', 'UNSTORABLE_OUTPUT', /"pipe" in the output directory/],
    ['gone', 'UNSTORABLE_OUTPUT', /no longer a directory/],
    ['crlf', 'SCRIPT_NOT_EXECUTABLE', /"crlf" in commit [0-9a-f]{40} ends with a carriage return/],
    ['env', 'SCRIPT_NOT_EXECUTABLE', /ends with a carriage return/],
    ['unknown', 'SCRIPT_FAILED', /code 127.* not found; its PATH is "[/a-z:]+"$/],
    ['dangling', 'UNSTORABLE_OUTPUT', /"link" to "\.\.\/tmp\/x" leads to nothing/],
    ['log', 'SCRIPT_FAILED', /exited with code 5/],
    ['locked', 'SCRIPT_FAILED', /exited with code 4/],
  ];
  // What the commit cannot run is refused before there is a job; that the worker looks too, find-script.test.ts has.
  for (const script of ['not-executable', 'dir', 'missing', 'dir/file/x']) {
    await t.throwsAsync(memoir.submit(script), { message: new RegExp(`script "${script}"`) });
  }
  const uuids = await Promise.all(cases.map(([script]) => memoir.submit(script)));
  const worker = memoir.worker('--once', '--jobs', '3');
  t.is(await worker.ended(), 0, worker.errors());
  for (const [i, [script, reason, message]] of cases.entries()) {
    const job = await memoir.get(uuids[i] ?? '');
    t.is(job.state, JobState.FAILED, script);
    t.is(job.failureReason, reason, script);
    t.regex(job.failureMessage, message);
    t.false(job.failureMessage.includes(memoir.directory), 'no path of the machine');
    if (script === 'log') t.is(logOf(memoir, job).toString(), 'kept\n');
    if (script === 'exit-3') t.is(logOf(memoir, job).toString(), 'before\n');
  }
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('a job that needs what a partial clone lacks fails with a reason that names the clone', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { partial: '#!/bin/sh\n' });
  memoir.repository.git('config', 'uploadpack.allowFilter', 'true');
  const clone = join(memoir.directory, 'partial.git');
  const from = `file://${memoir.repository.path}`;
  memoir.repository.git('clone', '--quiet', '--bare', '--filter=blob:none', from, clone);
  const uuid = await memoir.submit('partial', {}, { retry: { lost: 0 } });
  const places = ['--store-dir', memoir.storeDirectory, '--work-dir', memoir.directory];
  const worker = memoir.start(['worker', '--once', '--repository', `demo=${clone}`, ...places]);
  await worker.ended();
  const job = await memoir.get(uuid);
  t.is(job.state, JobState.FAILED, worker.errors());
  t.is(job.failureReason, 'PLACE_FAULT', job.failureMessage);
  t.regex(job.failureMessage, /OBJECT_MISSING: it is a partial clone, and what it lacks is at its remote "origin"/);
  t.regex(worker.errors(), /partial clone/);
});

test.serial('a cancelled job is killed with all that it started, and the worker goes on', async (t) => {
  const memoir = await memoirOf(t);
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

test.serial('a script that says nothing ends when its job is cancelled, long before the next heartbeat', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { silent: '#!/bin/sh\necho "$$"\nexec sleep 1000\n' });
  const uuid = await memoir.submit('silent');
  // Heartbeats are 200 s apart; `until` gives up after 30 s.
  const worker = memoir.worker('--lease', '600');
  const [, pid] = await memoir.start(['log', uuid]).says(/^(\d+)\n/);
  t.true(alive(Number(pid)));
  t.is((await memoir.run(['cancel', uuid])).code, 0);
  await until(() => !alive(Number(pid)), 'the script is gone');
  t.is(await worker.stop(), 0, worker.errors());
});

test.serial('a flood of output neither fills the memory nor stops the heartbeats', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { flood: '#!/bin/sh\nhead -c 200000000 /dev/zero | tr "\\000" "\\303"; echo end\n' });
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
  t.is(manifest(memoir, job.log).files[0]?.size, 200_000_004);
  t.log(`the worker's peak memory: ${peak} KiB`);
  t.true(peak < 250_000, `the worker took ${peak} KiB`);
  const live = await memoir.run(['log', uuid]);
  t.is(live.out.replaceAll('\ufffd', ''), '');
  t.regex(live.err, /live log ends here, at its limit/);
  t.is(await worker.stop(), 0);
});

test.serial('a script that would fill the disk with its output is killed', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { yes: '#!/bin/sh\nexec yes\n' });
  const uuid = await memoir.submit('yes');
  t.is(await memoir.worker('--once', '--log-limit', '1').ended(), 0);
  const job = await memoir.get(uuid);
  t.is(job.failureReason, 'LOG_TOO_LARGE');
  t.is(manifest(memoir, job.log).files[0]?.size, 1024 ** 2, 'no more than the limit is ever written');
});

test.serial(
  'a script that would fill the disk with files, or runs longer than it may, is ended while it runs',
  async (t) => {
    const memoir = await memoirOf(t);
    const fill = (where: string) =>
      `#!/bin/sh\nwhile :; do head -c 300000 /dev/zero | tr '\\0' x >> ${where}; sleep 0.1; done\n`;
    scripts(memoir, {
      output: fill('"$MEMOIR_OUTPUT/deep"'),
      tree: fill('file'),
      tmp: fill('"$TMPDIR/file"'),
      idle: '#!/bin/sh\necho before; sleep 600\n',
    });
    const uuids = await Promise.all(['output', 'tree', 'tmp'].map((script) => memoir.submit(script)));
    // Long enough for a busy machine to have begun it by then.
    const idle = await memoir.submit('idle', {}, { limits: { run: { seconds: 4n } } });
    const limits = ['--max-output-bytes', '500000', '--max-work-bytes', '1000000'];
    t.is(await memoir.worker('--once', '--grace', '0', '--jobs', '4', ...limits).ended(), 0);
    const [output, ...others] = await Promise.all(uuids.map((uuid) => memoir.get(uuid)));
    t.is(output?.failureReason, 'OUTPUT_TOO_LARGE');
    t.regex(output?.failureMessage ?? '', /its files had \d+ of 500000 bytes when the script had not ended/);
    for (const job of others) {
      t.is(job.failureReason, 'WORK_TOO_LARGE');
      t.regex(job.failureMessage, /took \d+ bytes of the disk, of 1000000 that/);
    }
    const over = await memoir.get(idle);
    t.like(over, { failureReason: 'RUN_LIMIT', failureMessage: 'the attempt took longer than its limit of 4 s' });
    t.like(over, { attemptCount: 1, attempts: { length: 1, 0: { fault: Fault.SCRIPT, reason: 'RUN_LIMIT' } } });
    t.is(logOf(memoir, over).toString(), 'before\n');
    // The worker itself says so, once, and no server a minute later.
    const said = (await memoir.run(['history', idle, '--json'])).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const ends = said.filter((one) => /job_failed|job_attempt_ended/.test(JSON.stringify(one)));
    t.is(ends.length, 1);
    t.regex(JSON.stringify(ends[0]), /"worker-1"/);
    t.deepEqual(workDirectories(memoir), []);
  },
);

test.serial('a worker that dies leaves its job to the lease, and its directory to the next worker', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { slow: '#!/bin/sh\necho $$; exec sleep 600\n', quick: '#!/bin/sh\n' });
  const uuid = await memoir.submit('slow', {}, { retry: { lost: 0 } });
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
  const memoir = await memoirOf(t);
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

test.serial('when that takes too long the job is killed and given back, and uses up no attempt', async (t) => {
  const memoir = await memoirOf(t);
  scripts(memoir, { slow: '#!/bin/sh\necho $$; sleep 600\n' });
  const uuid = await memoir.submit('slow');
  const worker = memoir.worker('--drain-timeout', '0.1');
  const [, pid] = await memoir.start(['log', uuid]).says(/^(\d+)\n/);
  t.is(await worker.stop(), 0);
  t.false(alive(Number(pid)));
  const job = await memoir.get(uuid);
  t.like(job, { state: JobState.QUEUED, failureReason: '', claimedBy: '', startedAt: undefined });
  const [attempt] = job.attempts;
  t.like(attempt, { number: 1, worker: 'worker-1', fault: Fault.WORKER, reason: 'WORKER_STOPPED' });
  t.is(logOf(memoir, { ...job, log: attempt?.log ?? '' }).toString(), `${pid}\n`);
  t.deepEqual(workDirectories(memoir), []);
});

test.serial('a run outlives a restart of the server, and its live log has every byte once', async (t) => {
  const memoir = await memoirOf(t);
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

test.serial(
  'a run leaves no trace of where it ran in its output, and an output that was put elsewhere is told',
  async (t) => {
    const memoir = await memoirOf(t);
    scripts(memoir, {
      traces: [
        '#!/bin/sh',
        'cd "$MEMOIR_OUTPUT"; pwd > pwd; env | grep -v ^MEMOIR_JOB_UUID= | sort > env; ln -s "$PWD/pwd" absolute; ln -s ../tmp/x followed',
        'echo x > "$TMPDIR/x"; truncate -s 64M sparse; mkdir locked; echo y > locked/f; chmod 000 locked/f locked',
      ].join('\n'),
      stray: '#!/bin/sh\nprintf printed; echo result > result.txt\n',
      nothing: '#!/bin/sh\n',
    });
    const submit = (script: string, ...args: string[]) =>
      memoir.start(['submit', '--repository', 'demo', '--script', script, '--always-new', '--wait', ...args]);
    const first = await memoir.submit('traces');
    t.is(await memoir.worker('--once').ended(), 0);
    const second = await memoir.submit('traces');
    const args = ['worker', '--repository', `demo=${memoir.repository.path}`, '--store-dir', memoir.storeDirectory];
    const worker = memoir.start([...args, '--work-dir', memoir.directory, '--env', 'A=b', '--jobs', '1'], {
      env: { PATH: `/elsewhere:${process.env.PATH}` },
    });
    const [stray, strict, nothing] = [submit('stray'), submit('stray', '--require-output'), submit('nothing')];
    t.is(await stray.ended(), 0, stray.errors());
    t.is(await strict.ended(), 1);
    t.is(await nothing.ended(), 0);
    const [one, two] = [await memoir.get(first), await memoir.get(second)];
    t.is(one.state, JobState.COMPLETE, one.failureMessage);
    const { files } = manifest(memoir, one.output);
    t.deepEqual(
      files.map(({ path, symlink }) => [path, symlink]),
      [
        ['absolute', 'pwd'],
        ['env', undefined],
        ['followed', undefined],
        ['locked/f', undefined],
        ['pwd', undefined],
        ['sparse', undefined],
      ],
    );
    t.deepEqual(
      manifest(memoir, two.output).files.filter(
        ({ path, sha256 }) => sha256 !== files.find((f) => f.path === path)?.sha256,
      ),
      manifest(memoir, two.output).files.filter(({ path }) => path === 'env'),
      'they differ by what --env added alone',
    );
    const size = Number(execFileSync('du', ['-sk', memoir.storeDirectory], { encoding: 'utf8' }).split('\t')[0]);
    t.true(size < 1024, `the store has ${size} KiB`);

    const uuid = /^new (\S+)/.exec(stray.output())?.[1] ?? '';
    t.regex(stray.errors(), /warning: the output is empty; .*memoir log /);
    const said =
      /^printed\nmemoir: the output is empty, but the script wrote into its working directory \("result\.txt"\); only/;
    t.regex(logOf(memoir, await memoir.get(uuid)).toString(), said);
    t.regex((await memoir.run(['log', uuid])).out, said);
    t.regex(strict.errors(), /NO_OUTPUT: an output is required: the output is empty, but the script wrote .*result/);
    t.regex(nothing.errors(), /warning: the output is empty/);
    const found = await memoir.run([
      ...'submit --repository demo --script stray --require-output'.split(' '),
      '--json',
    ]);
    t.regex(found.out, /"reused":false/);
    t.is(await worker.stop(), 0, worker.errors());
  },
);

test.serial(
  'a broken worker beside a healthy one spoils one job at most, says so, and is well again when its places are',
  async (t) => {
    const memoir = await memoirOf(t);
    scripts(memoir, { quick: '#!/bin/sh\necho "$0" > "$MEMOIR_OUTPUT/x"\n' });
    // A repository of the same name that does not have the commits: no probe tells it from the right one.
    const wrong = makeRepository();
    t.teardown(wrong.dispose);
    wrong.commit({ other: '' });
    const store = join(memoir.directory, 'other-store');
    const start = (principal: string, repository: string, storeDirectory: string) =>
      memoir.start(
        ['worker', '--repository', `demo=${repository}`, '--store-dir', storeDirectory, '--work-dir', memoir.directory],
        { env: { MEMOIR_PRINCIPAL: principal } },
      );
    const mistyped = start('mistyped', wrong.path, memoir.storeDirectory);
    const uuid = await memoir.submit('quick', { n: 0 }, { retry: { lost: 0 } });
    await until(() => /repository .*"demo.*is not well: no job of/.test(mistyped.errors()), 'it says so');
    const spoilt = await until(async () => {
      const now = await memoir.get(uuid);
      return now.state === JobState.FAILED ? now : undefined;
    }, 'the job fails');
    t.is(spoilt.failureReason, 'PLACE_FAULT');
    t.regex(
      spoilt.failureMessage,
      /cannot be had from repository "demo" of the worker \(OBJECT_MISSING\).*request the job again/,
    );
    const healthy = start('healthy', memoir.repository.path, memoir.storeDirectory);
    const broken = start('broken', memoir.repository.path, store);
    const uuids = await Promise.all(
      Array.from({ length: 20 }, (_, i) => memoir.submit('quick', { n: i + 1 }, { retry: { lost: 0 } })),
    );
    // Its store is gone at once or in the middle of a job.
    await until(() => /ready; claiming jobs/.test(broken.errors()), 'it has begun');
    renameSync(store, `${store}-away`);
    const failed: string[] = [];
    for (const one of uuids) {
      const job = await until(async () => {
        const now = await memoir.get(one);
        return now.state === JobState.QUEUED || now.state === JobState.RUNNING ? undefined : now;
      }, 'the job ends');
      if (job.state === JobState.FAILED) failed.push(`${job.claimedBy} ${job.failureReason} ${job.failureMessage}`);
    }
    t.true(failed.filter((text) => text.startsWith('broken PLACE_FAULT')).length <= 1, failed.join('\n'));
    t.true(failed.filter((text) => text.startsWith('mistyped PLACE_FAULT')).length <= 1, failed.join('\n'));
    t.is(failed.filter((text) => !/^(broken|mistyped) PLACE_FAULT/.test(text)).length, 0, failed.join('\n'));
    await Promise.all([healthy.stop(), mistyped.stop()]);
    // What was asked for at the time of its last claim may still come to it; it is looked for before the next.
    const more = [await memoir.submit('quick', { n: 100 }), await memoir.submit('quick', { n: 101 })];
    await until(() => /content store is not well: no job is claimed/.test(broken.errors()), 'it says so');
    t.is((await memoir.get(more[1] ?? '')).state, JobState.QUEUED);
    renameSync(`${store}-away`, store);
    await until(async () => (await memoir.get(more[1] ?? '')).state === JobState.COMPLETE, 'it works again');
    t.regex(broken.errors(), /content store is well again/);
    t.is(await broken.stop(), 0, broken.errors());
  },
);

test.serial('a worker that is process 1 leaves no zombies, where there is an init', async (t) => {
  if (!existsSync('/usr/bin/tini')) {
    wanting(t, 'tini', 'there is no /usr/bin/tini: apt-get install tini');
    return;
  }
  if (!canUnshare()) {
    t.log('skipped: there is no right to make a PID namespace');
    t.pass();
    return;
  }
  const memoir = await memoirOf(t);
  scripts(memoir, {
    orphan: '#!/bin/sh\n(sleep 600 & sleep 600 &)\n',
    count: [
      '#!/bin/sh',
      'i=0; while grep -qs "^State:.Z" /proc/[0-9]*/status && [ $i -lt 50 ]; do i=$((i+1)); sleep 0.1; done',
      'grep -ls "^State:.Z" /proc/[0-9]*/status; echo "$i rounds"; test "$i" -lt 50',
    ].join('\n'),
  });
  const first = await memoir.submit('orphan');
  const second = await memoir.submit('count');
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  const worker = ['worker', '--repository', `demo=${memoir.repository.path}`, '--store-dir', memoir.storeDirectory];
  const args = ['-Urpf', '--mount-proc', process.execPath, main, ...worker, '--work-dir', memoir.directory, '--once'];
  execFileSync('unshare', args, { env: { ...plainEnvironment(), MEMOIR_SERVER: memoir.address }, stdio: 'pipe' });
  t.is((await memoir.get(first)).state, JobState.COMPLETE);
  const job = await memoir.get(second);
  t.is(job.state, JobState.COMPLETE, `${job.failureMessage}\n${logOf(memoir, job)}`);
});

test.serial(
  'a disk that nothing may be run from is refused; one that gets full in a run is a fault of the place',
  async (t) => {
    if (!canUnshare()) {
      t.log('skipped: there is no right to mount a disk');
      t.pass();
      return;
    }
    const memoir = await memoirOf(t);
    scripts(memoir, { large: '#!/bin/sh\nhead -c 3000000 /dev/urandom > "$MEMOIR_OUTPUT/x"\n' });
    const uuid = await memoir.submit('large', {}, { retry: { lost: 0 } });
    const disk = join(memoir.directory, 'disk');
    mkdirSync(disk);
    const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
    const onDisk = (options: string, ...args: string[]) => {
      const mount = `mount -t tmpfs -o size=1m,${options} tmpfs "${disk}" && exec "$0" "$@"`;
      const worker = [main, 'worker', '--repository', `demo=${memoir.repository.path}`, '--min-free', '0', '--once'];
      return spawnSync('unshare', ['-Urm', 'sh', '-c', mount, process.execPath, ...worker, ...args], {
        env: { ...plainEnvironment(), MEMOIR_SERVER: memoir.address },
        encoding: 'utf8',
      });
    };
    const noexec = onDisk('noexec', '--work-dir', disk, '--store-dir', memoir.storeDirectory);
    t.is(noexec.status, 2, noexec.stderr);
    t.regex(noexec.stderr, /--work-dir ".*disk" cannot be used: .* \(noexec\)/);
    t.is((await memoir.get(uuid)).state, JobState.QUEUED);
    const full = onDisk('exec', '--work-dir', memoir.directory, '--store-dir', disk);
    t.regex(full.stderr, /the content store is not well: no job is claimed/);
    const job = await memoir.get(uuid);
    t.is(job.failureReason, 'PLACE_FAULT');
    t.regex(job.failureMessage, /^what the script made cannot be stored \(ENOSPC\); .*request the job again/);
  },
);

function canUnshare(): boolean {
  return spawnSync('unshare', ['-Urpf', '--mount-proc', 'true']).status === 0;
}
