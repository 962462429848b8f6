import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';

/** What a control group has taken up to now. */
export type Taken = {
  readonly peakRamBytes?: bigint | undefined;
  readonly cpuMs?: number | undefined;
  readonly killedForMemory: number;
};

/** Measures a control group, which is gone as soon as nothing is in it. */
export type Meter = { stop(): Taken };

/** Time between two looks, in milliseconds: shorter than it takes a runtime to remove the group of a container that has ended. */
const pause = 20;

/**
 * Measures the control group of a process, whose number `pid` gives once it is there. Files are those of Linux's cgroups(7) of version 1 and 2. What
 * cannot be read is not measured.
 * @param parent path of a group made for this one alone, which outlives it, and is removed in the end: what it tells is exact, however short the run was
 */
export function startMeter(pid: () => number | undefined, parent?: string, mounted = '/sys/fs/cgroup'): Meter {
  let files: GroupFiles | undefined;
  let taken: Taken = { killedForMemory: 0 };
  const look = () => {
    files ??= filesOf(pid(), mounted);
    if (files) taken = { ...taken, ...defined(files.read()) };
  };
  const timer = setInterval(look, pause);
  return {
    stop() {
      clearInterval(timer);
      look();
      return parent === undefined ? taken : { ...taken, ...ofParent(parent, taken, mounted) };
    },
  };
}

/** The files of a group, which tell what was taken in it. */
export type GroupFiles = { read(): { readonly [K in keyof Taken]?: Taken[K] | undefined } };

/** What the group tells that a container's was in. In version 1 it counts no kills but those of its own processes, of which it has none. */
function ofParent(path: string, { killedForMemory: seen }: Taken, mounted: string): Partial<Taken> {
  const controllers = readdirSync(mounted).filter((name) => existsSync(`${mounted}/${name}${path}`));
  const isFirst = controllers.includes('memory');
  const files = isFirst
    ? firstVersion(mounted, path, new Map([['cpuacct', path]]))
    : secondVersion(`${mounted}${path}`);
  const { killedForMemory = 0, ...told } = defined(files.read());
  for (const directory of [`${mounted}${path}`, ...controllers.map((name) => `${mounted}/${name}${path}`)]) {
    removeGroup(directory);
  }
  return { ...told, killedForMemory: Math.max(killedForMemory, seen) };
}

/** Removes a group and those in it, such as that of the process which watches the container. */
function removeGroup(directory: string): void {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeGroup(`${directory}/${entry.name}`);
    }
    rmdirSync(directory);
  } catch {
    // It is not there, or something is in it still.
  }
}

function filesOf(pid: number | undefined, mounted: string): GroupFiles | undefined {
  const lines = pid === undefined ? undefined : text(`/proc/${pid}/cgroup`)?.split('\n');
  if (!lines) return undefined;
  const paths = new Map<string, string>();
  for (const line of lines) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path !== undefined) for (const name of (controllers ?? '').split(',')) paths.set(name, path);
  }
  const memory = paths.get('memory');
  return memory === undefined ? secondVersion(`${mounted}${paths.get('')}`) : firstVersion(mounted, memory, paths);
}

/** The files of a group by the paths of its controllers. */
export function firstVersion(mounted: string, memory: string, paths: ReadonlyMap<string, string>): GroupFiles {
  return {
    read: () => ({
      peakRamBytes: whole(text(`${mounted}/memory${memory}/memory.max_usage_in_bytes`)),
      cpuMs: scaled(whole(text(`${mounted}/cpuacct${paths.get('cpuacct')}/cpuacct.usage`)), 1_000_000),
      killedForMemory: count(text(`${mounted}/memory${memory}/memory.oom_control`), 'oom_kill'),
    }),
  };
}

/** The same of version 2. */
export function secondVersion(group: string): GroupFiles {
  return {
    read: () => ({
      peakRamBytes: whole(text(`${group}/memory.peak`)),
      cpuMs: count(text(`${group}/cpu.stat`), 'usage_usec', 1_000),
      killedForMemory: count(text(`${group}/memory.events`), 'oom_kill'),
    }),
  };
}

function text(path: string): string | undefined {
  try {
    // Read at once: a group may be gone in the next moment, and the kernel has it at hand.
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function whole(found: string | undefined): bigint | undefined {
  return found !== undefined && /^\d+\s*$/.test(found) ? BigInt(found.trim()) : undefined;
}

function scaled(value: bigint | undefined, by: number): number | undefined {
  return value === undefined ? undefined : Number(value) / by;
}

/** The number behind a name in a file of such lines. */
function count(found: string | undefined, name: string, by = 1): number | undefined {
  const [, digits] = new RegExp(`^${name} (\\d+)$`, 'm').exec(found ?? '') ?? [];
  return digits === undefined ? undefined : Number(digits) / by;
}

function defined(values: ReturnType<GroupFiles['read']>): Partial<Taken> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
