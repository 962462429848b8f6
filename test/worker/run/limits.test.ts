import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type GroupSystem, makeControlGroup } from '../../../src/worker/run/control-group.js';
import { startMeter } from '../../../src/worker/run/meter.js';
import { limited, tasksOfUser } from '../../../src/worker/run/process-limits.js';
import { openSandbox } from '../../../src/worker/run/sandbox.js';
import { makeRepository } from '../../support/git-repository.js';
import { wanting } from '../../support/required.js';
import { request, uuidOf } from '../../support/runs.js';
import { startTestServer, type TestServer } from '../../support/server.js';
import { workOnce } from '../../support/worker.js';

const bounds = { cores: 1, ramMb: 64, ramAsked: true, scratchMb: 0, processes: 50 };

/** A file system of control groups of version 2, as far as files tell: `make` puts there what the kernel does. */
function secondVersion(t: ExecutionContext): GroupSystem & { readonly group: string } {
  const root = mkdtempSync(join(tmpdir(), 'memoir-groups-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const mounted = join(root, 'cgroup');
  mkdirSync(join(mounted, 'system.slice/memoir.service'), { recursive: true });
  writeFileSync(join(mounted, 'system.slice/cgroup.subtree_control'), 'cpu io memory pids\n');
  const own = join(root, 'own');
  writeFileSync(own, '0::/system.slice/memoir.service\n');
  return {
    mounted,
    own,
    group: join(mounted, 'system.slice/memoir-x'),
    make(directory) {
      mkdirSync(directory);
      for (const name of ['cgroup.procs', 'memory.max', 'memory.swap.max', 'pids.max'])
        writeFileSync(join(directory, name), '');
    },
  };
}

/** What the kernel tells of a group in which something was. */
function tell(group: string): void {
  writeFileSync(join(group, 'memory.peak'), '12345678\n');
  writeFileSync(join(group, 'cpu.stat'), 'usage_usec 250000\nuser_usec 200000\nsystem_usec 50000\n');
  writeFileSync(join(group, 'memory.events'), 'low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n');
}
const told = { peakRamBytes: 12_345_678n, cpuMs: 250, killedForMemory: 2 };

test('a control group of version 2 is made beside that of the worker, bounds a run, and tells what it took', async (t) => {
  const system = secondVersion(t);
  const { group } = system;
  const made = makeControlGroup('memoir-x', bounds, system);
  t.deepEqual(made?.entries, [join(group, 'cgroup.procs')]);
  const set = ['memory.max', 'memory.swap.max', 'pids.max'].map((name) => readFileSync(join(group, name), 'utf8'));
  t.deepEqual(set, [String(64 * 1024 ** 2), '0', '50']);
  tell(group);
  t.deepEqual(await made?.end(), told);
});

test('of version 2 a job that asked for no memory is bounded in processes alone, and without controllers there is no group', (t) => {
  const system = secondVersion(t);
  const { group } = system;
  t.truthy(makeControlGroup('memoir-x', { ...bounds, ramAsked: false }, system));
  t.is(readFileSync(join(group, 'memory.max'), 'utf8'), '');
  t.is(readFileSync(join(group, 'pids.max'), 'utf8'), '50');
  writeFileSync(join(system.mounted, 'system.slice/cgroup.subtree_control'), 'cpu io\n');
  t.is(makeControlGroup('memoir-y', bounds, system), undefined);
  t.false(existsSync(join(system.mounted, 'system.slice/memoir-y')));
  t.is(makeControlGroup('memoir-z', bounds, { ...system, own: '/nowhere' }), undefined);
});

test('of a container in a group of version 2 the one around it tells what it took', (t) => {
  const { mounted } = secondVersion(t);
  mkdirSync(join(mounted, 'memoir/c/inner'), { recursive: true });
  tell(join(mounted, 'memoir/c'));
  t.deepEqual(startMeter(() => undefined, '/memoir/c', mounted).stop(), told);
});

const repository = makeRepository();
repository.commit(
  Object.fromEntries(
    Object.entries({
      'limits.sh': "awk '/^Max (data size|processes)/ { print $(NF-2) }' /proc/self/limits\n",
      'memory.sh': '(dd if=/dev/zero of=/dev/null bs=300M count=1) 2>&1 | grep -c -i "memory"\n',
      'calls.sh':
        'port=$(tr -dc 0-9 < "$MEMOIR_PARAMETERS"); bash -c "cat < /dev/tcp/127.0.0.1/$port" 2> /dev/null || echo nobody; test -e /etc/resolv.conf && echo a resolver || echo no resolver\n',
      'no-interpreter.sh': '',
    }).map(([name, text]) => [name, name === 'no-interpreter.sh' ? '#!/usr/bin/python9\n' : `#!/bin/sh\n${text}`]),
  ),
);
let server: TestServer;
test.before(async () => {
  server = await startTestServer({ repositories: { project: repository.path } });
});
test.after.always(async () => {
  await server?.dispose();
  repository.dispose();
});

test.serial('where no control group can be had each process is bounded, in a sandbox and without one', async (t) => {
  const { sandbox, why } = await openSandbox('auto', []);
  if (!sandbox) wanting(t, 'bwrap', why);
  for (const host of sandbox ? [undefined, sandbox] : [undefined]) {
    const names = ['limits.sh', 'memory.sh', 'no-interpreter.sh'];
    const uuids: string[] = [];
    for (const script of names) {
      const asked = { script, retry: { lost: 0 }, runtimeConstraints: { minRamMbPerNode: 128 } };
      uuids.push(uuidOf(await request(server.as('ada'), asked)));
    }
    await workOnce({
      address: server.address(),
      principal: 'w',
      repository: ['project', repository.path],
      offer: { cores: 1, ramMb: 512n },
      sandbox: host,
      makeGroup: () => undefined,
    });
    const [limits, memory, bare] = await Promise.all(uuids.map(ranOf));
    const [data, processes] = (limits?.log ?? '').split('\n').map(Number);
    t.is(data, 128 * 1024 ** 2, limits?.log);
    if (host) t.is(processes, 100);
    else t.true((processes ?? 0) > 100, 'those of the user count too');
    t.is(memory?.job.state, JobState.COMPLETE, memory?.job.failureMessage);
    t.is(memory?.log, '1\n', 'dd has no memory, is not killed, and says so');
    t.is(memory?.job.ran?.peakRamBytes, undefined, 'nothing is measured');
    t.is(bare?.job.failureReason, 'SCRIPT_NOT_EXECUTABLE', bare?.job.failureMessage);
  }
});

test.serial(
  'in a sandbox a job has the network of the machine if it asks for it at a worker that gives it, and else none',
  async (t) => {
    const { sandbox, why } = await openSandbox('auto', []);
    if (!sandbox) return wanting(t, 'bwrap', why);
    let calls = 0;
    const listener = createServer((socket) => {
      calls++;
      socket.end('hello\n');
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    t.teardown(() => listener.close());
    const { port } = listener.address() as { port: number };
    const ask = async (requiredLabels: Record<string, string>) =>
      uuidOf(
        await request(server.as('ada'), {
          script: 'calls.sh',
          scriptParameters: { port },
          requiredLabels,
          retry: { lost: 0 },
        }),
      );
    const work = (network: string | undefined) =>
      workOnce({
        address: server.address(),
        principal: 'w',
        repository: ['project', repository.path],
        offer: { cores: 1, labels: network === undefined ? {} : { network } },
        sandbox,
        ...(network !== undefined && { network }),
      });
    const [asks, silent] = [await ask({ network: 'host' }), await ask({})];
    await work(undefined);
    t.is((await ranOf(asks)).job.state, JobState.QUEUED, 'a worker without it is not given the job');
    t.is((await ranOf(silent)).log, 'nobody\nno resolver\n');
    const beside = await ask({});
    await work('host');
    t.is((await ranOf(asks)).log, `hello\n${existsSync('/etc/resolv.conf') ? 'a' : 'no'} resolver\n`);
    t.is((await ranOf(beside)).log, 'nobody\nno resolver\n', 'who does not ask has none there either');
    t.is(calls, 1);
    const other = await ask({ network: 'lab' });
    await work('lab');
    const { job } = await ranOf(other);
    t.is(job.state, JobState.FAILED);
    t.is(job.failureReason, 'NO_NETWORK', job.failureMessage);
    t.is(calls, 1);
  },
);

async function ranOf(uuid: string): Promise<{ readonly job: Job; readonly log: string }> {
  const job = (await server.as('ada').jobs.getJob({ uuid })).job as Job;
  let log = '';
  if (job.log !== '') {
    for await (const { data } of server.as('ada').content.readLog({ uuid })) log += Buffer.from(data).toString('utf8');
  }
  return { job, log };
}

const fork = 'n=0; while [ $n -lt 80 ]; do sleep 0.2 & n=$((n+1)); done; echo started $n';

test('a user who is not root starts no more processes than a run may have', (t) => {
  // Of somebody who has no others, where that can be.
  const isRoot = process.getuid?.() === 0;
  const [program = '', ...args] = limited(bounds, isRoot ? 0 : tasksOfUser(), ['/bin/sh', '-c', fork]);
  const { stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    ...(isRoot && { uid: 54_321, gid: 54_321 }),
  });
  t.notRegex(stdout, /started 80/);
  t.regex(stderr, /fork/i);
});
