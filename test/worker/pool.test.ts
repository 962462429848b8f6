import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { coresOfControlGroup, machineHas } from '../../src/worker/pool/machine.js';
import { openPool } from '../../src/worker/pool/pool.js';

/** A directory with files in the place of a root. */
function root(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-root-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
  return directory;
}

const v1 = '4:memory:/box\n3:cpu,cpuacct:/box/inner\n1:name=systemd:/box\n';

for (const [what, files, cores] of [
  ['no control group bounds nothing', {}, undefined],
  ['version 2, unbounded', { 'proc/self/cgroup': '0::/a/b\n', 'sys/fs/cgroup/a/b/cpu.max': 'max 100000\n' }, undefined],
  [
    'version 2, the tightest of those that it is in',
    {
      'proc/self/cgroup': '0::/a/b\n',
      'sys/fs/cgroup/a/b/cpu.max': '800000 100000\n',
      'sys/fs/cgroup/a/cpu.max': '250000 100000\n',
    },
    2,
  ],
  ['version 2, in a namespace', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '50000 100000\n' }, 1],
  [
    'version 1',
    {
      'proc/self/cgroup': v1,
      'sys/fs/cgroup/cpu/box/inner/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu/box/inner/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu/box/cpu.cfs_quota_us': '300000\n',
      'sys/fs/cgroup/cpu/box/cpu.cfs_period_us': '100000\n',
    },
    3,
  ],
  [
    'version 1, in a namespace whose path is that outside of it',
    {
      'proc/self/cgroup': v1,
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '450000',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
    },
    4,
  ],
] as const) {
  test(`processors of a control group: ${what}`, async (t) => {
    t.is(await coresOfControlGroup(root(t, files)), cores);
  });
}

test('this machine has something, and no more than it has', async (t) => {
  const { cores, ramMb, scratchMb } = await machineHas(tmpdir(), 0);
  t.true(Number.isSafeInteger(cores) && cores >= 1);
  t.true(Number.isSafeInteger(ramMb) && ramMb > 0 && ramMb < 2 ** 40);
  t.true(Number.isSafeInteger(scratchMb) && scratchMb >= 0);
  t.is((await machineHas(tmpdir(), Number.MAX_SAFE_INTEGER)).scratchMb, 0);
});

test('a pool offers what its jobs do not take, and tells when that has become more', (t) => {
  const pool = openPool({ cores: 8, ramMb: 1_000n, scratchMb: 5n, labels: { gpu: 'a100' } });
  const job = (minCoresPerNode: number, minRamMbPerNode: number) =>
    create(JobSchema, { runtimeConstraints: { minCoresPerNode, minRamMbPerNode } });
  const release = pool.take(job(6, 200));
  t.like(pool.free(), { cores: 2, ramMb: 800n, scratchMb: 5n, labels: { gpu: 'a100' } });
  t.like(pool.total, { cores: 8, ramMb: 1_000n });
  // A job that came back bigger than it was claimed takes no more than there is.
  const big = pool.take(job(4, 0));
  t.is(pool.free().cores, 0);
  big();
  const grown = pool.grown();
  t.false(grown.aborted);
  pool.take(job(0, 0))();
  t.false(grown.aborted, 'what takes nothing gives nothing back');
  release();
  t.true(grown.aborted);
  t.false(pool.grown().aborted);
  release();
  t.like(pool.free(), { cores: 8, ramMb: 1_000n });
});
