import { readFile, statfs } from 'node:fs/promises';
import { arch, availableParallelism, platform, totalmem } from 'node:os';
import { posix } from 'node:path';
import type { Least } from '../../domain/placement/requirements.js';

const mebi = 1024 ** 2;

/**
 * What this process may use of the machine: processors, less what its control group (cgroups of version 1 or 2) keeps from it, memory
 * likewise, and what is free where `scratch` lies but for `minFreeBytes`.
 */
export async function machineHas(scratch: string, minFreeBytes: number): Promise<Least> {
  const cores = Math.min(availableParallelism(), (await coresOfControlGroup('/')) ?? Number.POSITIVE_INFINITY);
  // What there is no bound of is told as a number beyond any machine.
  const bounded = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const { bavail, bsize } = await statfs(scratch);
  return {
    cores,
    ramMb: Math.floor(Math.min(totalmem(), bounded) / mebi),
    scratchMb: Math.max(0, Math.floor((bavail * bsize - minFreeBytes) / mebi)),
  };
}

/** The platform of this process as images have it. */
export function imagePlatform(): string {
  const os = platform() === 'win32' ? 'windows' : platform();
  const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm: 'arm', arm64: 'arm64' };
  return `${os}/${architectures[arch()] ?? arch()}`;
}

/**
 * How many whole processors the control group of this process may use, at least 1; undefined if that is not bounded. A group is bounded by
 * all that it is in. The files are those of Linux's cgroups(7).
 * @param root of the file system, for tests
 */
export async function coresOfControlGroup(root: string): Promise<number | undefined> {
  const read = (path: string) => readFile(posix.join(root, path), 'utf8').catch(() => undefined);
  let least: number | undefined;
  const bound = (quota: number, period: number) => {
    // "max", and -1 in version 1, stand for no bound.
    if (quota > 0 && period > 0) least = Math.min(least ?? Number.POSITIVE_INFINITY, quota / period);
  };
  for (const line of (await read('proc/self/cgroup'))?.split('\n') ?? []) {
    const [, number, controllers, own] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (own === undefined) continue;
    const second = number === '0' && controllers === '';
    if (!second && !controllers?.split(',').includes('cpu')) continue;
    // Where the group is a namespace of its own, the path may be that outside of it, and what is mounted the group itself.
    for (let group = own; ; group = posix.dirname(group)) {
      if (second) {
        const [quota, period] = (await read(posix.join('sys/fs/cgroup', group, 'cpu.max')))?.trim().split(' ') ?? [];
        bound(Number(quota), Number(period));
      } else {
        const at = posix.join('sys/fs/cgroup/cpu', group);
        const [quota, period] = await Promise.all(
          ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((file) => read(posix.join(at, file))),
        );
        bound(Number(quota), Number(period));
      }
      if (group === '/') break;
    }
  }
  return least === undefined ? undefined : Math.max(1, Math.floor(least));
}
