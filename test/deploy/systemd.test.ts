import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { serverSettings } from '../../src/config/settings.js';
import { runMemoir } from '../support/command.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { programPath } from '../support/podman.js';
import { makeProject } from '../support/project.js';
import { wanting } from '../support/required.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';
import { deployFolder, environmentOf, readUnit } from './unit-file.js';

// The unit of systemd, and what a server tells the service manager that started it.

const unit = readUnit('memoir.service');
const directory = mkdtempSync(join(tmpdir(), 'memoir-unit-'));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

/** A socket as a service manager has it, and what was sent there, datagram by datagram. */
async function notifySocket(t: ExecutionContext): Promise<{ path: string; told: string[] }> {
  const path = join(mkdtempSync(join(directory, 'notify-')), 'socket');
  // Node.js has no datagrams of Unix sockets.
  const code = `import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps('bound'), flush=True)
while True: print(json.dumps(s.recv(65536).decode()), flush=True)`;
  const child: ChildProcess = spawn('python3', ['-c', code, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill());
  const told: string[] = [];
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  await once(lines, 'line');
  lines.on('line', (line) => void told.push(JSON.parse(line) as string));
  return { path, told };
}

/** Whether there is what the tests of a service manager need; says so if not. */
function canNotify(t: ExecutionContext): boolean {
  if (!programPath('systemd-notify')) wanting(t, 'systemd', 'systemd-notify is not installed');
  else if (spawnSync('python3', ['--version']).status !== 0) wanting(t, 'python', 'python3 is not installed');
  else return true;
  return false;
}

test('the unit names settings that there are, and tells systemd what the server does', async (t) => {
  const config = join(directory, 'memoir.toml');
  writeFileSync(config, '');
  const environment = { ...environmentOf(unit), MEMOIR_CONFIG: config };
  const settings = await serverSettings({ file: config, environment, flags: {}, directory });
  const [state = ''] = unit.values('Service', 'StateDirectory');
  t.is(settings.data_dir, `/var/lib/${state}`);
  t.deepEqual(unit.values('Service', 'Type'), ['notify']);
  // systemd-notify is a child of the server.
  t.deepEqual(unit.values('Service', 'NotifyAccess'), ['all']);
  const [stop = ''] = unit.values('Service', 'TimeoutStopSec');
  t.true(Number.parseInt(stop, 10) >= settings.drain_timeout + 60, 'systemd waits for calls under way and what closes');
});

for (const [name, exposed] of [
  ['memoir', 15],
  // Its scripts are kept apart by what a unit could take away from it.
  ['memoir-worker', 52],
] as const) {
  test(`systemd takes the unit ${name}, and finds no more exposed than there is reason for`, (t) => {
    if (!programPath('systemd-analyze')) return wanting(t, 'systemd', 'systemd-analyze is not installed');
    const there = join(directory, 'memoir');
    writeFileSync(there, '#!/bin/sh\n');
    chmodSync(there, 0o755);
    mkdirSync(join(directory, 'units'), { recursive: true });
    const path = join(directory, 'units', `${name}.service`);
    writeFileSync(
      path,
      readUnit(`${name}.service`).text.replace('ExecStart=/usr/local/bin/memoir ', `ExecStart=${there} `),
    );
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
    t.is(`${verified.stdout}${verified.stderr}`, '');
    t.is(verified.status, 0);
    // Of 10, the more the worse; the threshold in tenths.
    const args = ['security', '--offline=true', `--threshold=${exposed}`, path];
    t.notThrows(() => execFileSync('systemd-analyze', args, { stdio: 'pipe' }));
    if (!programPath('systemd-sysusers')) return;
    const users = spawnSync('systemd-sysusers', ['--dry-run', `${deployFolder}systemd/${name}.sysusers.conf`], {
      encoding: 'utf8',
    });
    t.is(users.status, 0, users.stderr);
  });
}

test('a worker of its unit has options that there are, runs a job, and ends well when it is told to', async (t) => {
  const { repository } = makeProject();
  const server = await startTestServer({ repositories: { project: repository.path } });
  t.teardown(() => server.dispose());
  const of = readUnit('memoir-worker.service');
  const work = mkdtempSync(join(directory, 'work-'));
  const state = `/var/lib/${of.values('Service', 'StateDirectory')[0]}`;
  const args = (of.values('Service', 'ExecStart')[0] ?? '')
    .split(' ')
    .slice(1)
    .flatMap((text) => (text === '$WORKER_OPTIONS' ? ['--repository', `project=${repository.path}`] : [text]))
    .map((text) => text.replace('%H', 'here').replace(state, work));
  t.true(args.includes(work), 'it works where it may write');
  const { PATH = '' } = process.env;
  // Whether there is bubblewrap here is for other tests.
  const env = { PATH, ...environmentOf(of), MEMOIR_SERVER: server.address(), MEMOIR_SANDBOX: 'none' };
  const worker = startMemoir(args, { env });
  t.teardown(() => worker.stop('SIGKILL'));
  const { jobs } = server.as('ada');
  const request = { repository: 'project', script: 'run.sh', scriptVersion: 'HEAD' };
  const uuid = (await jobs.createJob(request)).job?.uuid ?? '';
  await until('the job has ended', async () => (await jobs.getJob({ uuid })).job?.finishedAt !== undefined);
  t.is((await jobs.getJob({ uuid })).job?.state, JobState.COMPLETE);
  t.is(await worker.stop('SIGTERM'), 0);
  const [stop = ''] = of.values('Service', 'TimeoutStopSec');
  t.true(Number.parseInt(stop, 10) >= 30 + 5 + 20, 'systemd waits for --drain-timeout, --grace and what is given back');
});

test('a server of the unit is ready when it serves and not before, keeps its watchdog, and says that it stops', async (t) => {
  if (!canNotify(t)) return;
  const store = await startDouble();
  t.teardown(() => store.stop());
  store.refuse(true);
  const { path, told } = await notifySocket(t);
  const [, ...args] = (unit.values('Service', 'ExecStart')[0] ?? '').split(' ');
  const config = join(directory, 'own.toml');
  writeFileSync(config, 'wait_for_store = true\nlisten = "127.0.0.1:0"\n');
  const env = {
    ...environmentOf(unit),
    MEMOIR_CONFIG: config,
    MEMOIR_DATA_DIR: join(directory, 'data'),
    MEMOIR_STORE: store.url,
    NOTIFY_SOCKET: path,
    WATCHDOG_USEC: '1000000',
  };
  const server = startMemoir(args, { env });
  t.teardown(() => server.stop('SIGKILL'));
  const heard = () => told.filter((one) => /^WATCHDOG=1$/m.test(one));
  await until('the watchdog hears of a server that waits for its store', () => heard().length > 0);
  await until('it is said what is waited for', () =>
    told.some((one) => /^STATUS=waits for the store: KurrentDB at/m.test(one)),
  );
  t.notRegex(told.join('\n'), /READY/);

  store.refuse(false);
  const [, address = ''] = await server.says(/^ready on (\S+)$/m);
  await until('it is ready', () => told.some((one) => /^READY=1$/m.test(one)));
  t.is((await runMemoir(['health', '--server', address])).out, 'serving\n');
  await until('the state is told', () => told.some((one) => /^STATUS=answers calls$/m.test(one)));
  const before = heard().length;
  await until('the watchdog goes on', () => heard().length > before);
  t.notRegex(told.join('\n'), /STOPPING/);

  t.is(await server.stop('SIGTERM'), 0);
  const said = told.flatMap((one) => one.split('\n')).filter((line) => /^(READY|STOPPING)/.test(line));
  t.deepEqual(said, ['READY=1', 'STOPPING=1']);
  t.notRegex(server.errors(), /service manager/);
});

test('without systemd-notify, a server says so once and serves', async (t) => {
  const env = { NOTIFY_SOCKET: join(directory, 'nobody'), PATH: directory, WATCHDOG_USEC: '2000', WATCHDOG_PID: '1' };
  const server = startMemoir(['serve', '--data-dir', join(directory, 'alone'), '--listen', '127.0.0.1:0'], { env });
  t.teardown(() => server.stop('SIGKILL'));
  const [, address = ''] = await server.says(/^ready on (\S+)$/m);
  await until('the warning', () => server.errors().includes('the service manager cannot be told'));
  t.is((await runMemoir(['health', '--server', address, '--live'])).code, 0);
  const one = await runMemoir(['health', '--server', address, '--service', 'memoir.jobs.v1.JobsService', '--json']);
  t.deepEqual(JSON.parse(one.out), { status: 'SERVING' });
  t.is((await runMemoir(['health', '--server', address, '--service', 'no.such.Service'])).code, 3);
  t.is(await server.stop('SIGTERM'), 0);
  t.is(server.errors().split('the service manager cannot be told').length, 2);
  const gone = await runMemoir(['health', '--server', address, '--timeout', '1']);
  t.is(gone.code, 6);
  t.regex(gone.err, /cannot reach the server/);
});
