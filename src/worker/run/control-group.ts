import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { firstVersion, type GroupFiles, secondVersion, type Taken } from './meter.js';
import type { Bounds } from './run-host.js';

/** A control group of a run's own: it bounds and measures all that is in it, and nothing gets out of it. */
export type ControlGroup = {
  /** Files that a process writes its number into to be in it. */
  readonly entries: readonly string[];
  /** Kills what is left in it, and removes it. Gives what was taken in all. */
  end(): Promise<Taken>;
};

/** Writes its own number into each file, and goes on as the program behind them. */
const enterAndRun = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"';

/** How a program is run that is in a group before it, or anything that it starts, is there; without a group it is run as it is. */
export function entering(
  group: ControlGroup | undefined,
  command: readonly string[],
): { readonly path: string; readonly args: readonly string[] } {
  return { path: '/bin/sh', args: ['-c', enterAndRun, 'memoir', ...(group?.entries ?? []), '--', ...command] };
}

/** What is written into which file of a group. */
type Setting = readonly [file: string, value: string];

/** How long a group is waited for to be empty, in milliseconds. */
const longestEnd = 5_000;

/** Makes a group for a run; undefined where none can be had. */
export type MakeGroup = (name: string, bounds: Bounds) => ControlGroup | undefined;

/** Where groups are: the system's own, unless a test has others. */
export type GroupSystem = {
  readonly mounted: string;
  /** File that tells the groups of this process. */
  readonly own: string;
  /** Makes the directory of a group, in which the system puts its files. */
  readonly make: (directory: string) => void;
};
const ownSystem: GroupSystem = { mounted: '/sys/fs/cgroup', own: '/proc/self/cgroup', make: mkdirSync };

/**
 * Makes a group below that of this process, where it may: undefined for a process that is not let (as one that is not root's, mostly), or
 * where there are none. Files are those of Linux's cgroups(7) of version 1 and 2.
 */
export function makeControlGroup(name: string, bounds: Bounds, system = ownSystem): ControlGroup | undefined {
  try {
    const paths = ownPaths(system.own);
    return paths.has('memory') ? ofFirst(name, bounds, system, paths) : ofSecond(name, bounds, system, paths);
  } catch {
    return undefined;
  }
}

function ownPaths(file: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path !== undefined) for (const one of (controllers ?? '').split(',')) paths.set(one, path);
  }
  return paths;
}

function ofFirst(
  name: string,
  bounds: Bounds,
  { mounted, make }: GroupSystem,
  own: ReadonlyMap<string, string>,
): ControlGroup | undefined {
  const bytes = String(bounds.ramMb * 1024 ** 2);
  const settings: Record<string, readonly Setting[]> = {
    memory: bounds.ramAsked
      ? [
          ['memory.limit_in_bytes', bytes],
          ['memory.memsw.limit_in_bytes', bytes],
        ]
      : [],
    pids: [['pids.max', String(bounds.processes)]],
    cpuacct: [],
  };
  const at = (controller: string) => join(own.get(controller) ?? '/', name);
  const paths = new Map(Object.keys(settings).map((controller) => [controller, at(controller)]));
  const directories = [...paths].map(([controller, path]) => join(mounted, controller, path));
  const files = firstVersion(mounted, at('memory'), paths);
  return made(directories, Object.values(settings), files, make);
}

/** Controllers are had by the groups below one that holds no process, so that it is made beside that of this process. */
function ofSecond(
  name: string,
  { ramMb, ramAsked, processes }: Bounds,
  { mounted, make }: GroupSystem,
  own: ReadonlyMap<string, string>,
): ControlGroup | undefined {
  const path = own.get('');
  if (path === undefined) return undefined;
  const parent = join(mounted, dirname(path));
  const controllers = readFileSync(join(parent, 'cgroup.subtree_control'), 'utf8').trim().split(' ');
  if (!controllers.includes('memory') || !controllers.includes('pids')) return undefined;
  const directory = join(parent, name);
  const memory: readonly Setting[] = ramAsked
    ? [
        ['memory.max', String(ramMb * 1024 ** 2)],
        ['memory.swap.max', '0'],
      ]
    : [];
  return made([directory], [[...memory, ['pids.max', String(processes)]]], secondVersion(directory), make);
}

function made(
  directories: readonly string[],
  settings: readonly (readonly Setting[])[],
  files: GroupFiles,
  make: GroupSystem['make'],
): ControlGroup | undefined {
  const done: string[] = [];
  try {
    for (const [i, directory] of directories.entries()) {
      make(directory);
      done.push(directory);
      for (const [file, value] of settings[i] ?? []) write(join(directory, file), value);
    }
  } catch {
    for (const directory of done) remove(directory);
    return undefined;
  }
  const entries = directories.map((directory) => join(directory, 'cgroup.procs'));
  return {
    entries,
    async end() {
      for (const began = performance.now(); ; ) {
        const left = new Set(entries.flatMap(numbersIn));
        if (left.size === 0 || performance.now() - began > longestEnd) break;
        for (const pid of left) kill(pid);
        await sleep(5);
      }
      const { killedForMemory = 0, peakRamBytes, cpuMs } = files.read();
      for (const directory of directories) remove(directory);
      return { killedForMemory, peakRamBytes, cpuMs };
    },
  };
}

/** What is not there, as the files of swap where that is not counted, is not set. */
function write(path: string, value: string): void {
  try {
    writeFileSync(path, value, { flag: 'r+' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path.endsWith('cgroup.procs')) throw error;
  }
}

function numbersIn(path: string): number[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .flatMap((line) => (/^[1-9]\d*$/.test(line) ? [Number(line)] : []));
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

function remove(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // What cannot be killed, as in the midst of a call of the system, keeps it; it is empty later.
  }
}
