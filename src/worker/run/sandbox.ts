import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { invalid } from '../../domain/errors.js';
import { bubblewrap } from '../../domain/ran/ran-in.js';
import { runInGroup } from '../process-group.js';
import { complaint, runCommand } from './command.js';
import { type ControlGroup, entering, type MakeGroup } from './control-group.js';
import { limited } from './process-limits.js';
import type { Hosted, HostedScript, RunHost } from './run-host.js';
import type { RunPlaces } from './run-places.js';
import { insidePaths, insideProgress } from './script-paths.js';

/** What keeps runs without an image apart from the rest of the machine: bubblewrap (https://github.com/containers/bubblewrap). */
export type Sandbox = {
  readonly name: typeof bubblewrap;
  readonly version: string;
  /** Directories that scripts may read beside those of the system. */
  readonly readable: readonly string[];
  /** Whether it can keep scripts from making namespaces of their own. */
  readonly denies: boolean;
};

/** What can be asked for. */
export const sandboxChoices = ['bwrap', 'none', 'auto'] as const;
export type SandboxChoice = (typeof sandboxChoices)[number];

const program = 'bwrap';

/** Who scripts are inside; outside they are who the worker is. */
const nobody = '65534';

/**
 * Opens a sandbox; "auto" gives undefined, and says why, where none works.
 * @throws MemoirError INVALID_ARGUMENT BAD_OPTIONS if bwrap is asked for and does not work
 */
export async function openSandbox(
  choice: SandboxChoice,
  readable: readonly string[],
): Promise<{ readonly sandbox: Sandbox | undefined; readonly why: string }> {
  if (choice === 'none') return { sandbox: undefined, why: 'it was not asked for' };
  let why: string;
  try {
    const signal = AbortSignal.timeout(30_000);
    const asked = await runCommand(program, ['--version'], { signal });
    const denies = (await runCommand(program, ['--help'], { signal })).stdout.includes('--disable-userns');
    const all = [...apart(denies), ...system(readable), ...sealed];
    const tried = await runCommand(program, [...all, '/usr/bin/env', 'true'], { signal });
    const version = asked.stdout.trim().split(' ').at(-1) ?? '';
    if (asked.code === 0 && tried.code === 0)
      return { sandbox: { name: bubblewrap, version, readable, denies }, why: '' };
    why = complaint(tried);
  } catch (error) {
    why = (error as Error).message;
  }
  if (choice === 'auto') return { sandbox: undefined, why };
  throw invalid('sandbox', 'BAD_OPTIONS', `--sandbox bwrap cannot be used: ${why}`);
}

/** Runs scripts in a sandbox, with the network of the machine if they are to have it, and else with none. */
export function sandboxHost(sandbox: Sandbox, uuid: () => string, makeGroup: MakeGroup, hasNetwork: boolean): RunHost {
  return {
    paths: insidePaths,
    ran: { sandbox: sandbox.name },
    run(script, signal, graceMs) {
      const network = hasNetwork ? sharedNetwork : [];
      const group = makeGroup(`memoir-${uuid()}`, script.bounds);
      return runSandboxed(sandbox, network, group, script, signal, graceMs);
    },
  };
}

async function runSandboxed(
  { readable, denies }: Sandbox,
  network: readonly string[],
  group: ControlGroup | undefined,
  script: HostedScript,
  signal: AbortSignal,
  graceMs: number,
): Promise<Hosted> {
  const { path, places, environment, own, stdin, output, onStart, onReady, onBegin, bounds } = script;
  const inside = insidePaths.tree + path.slice(places.tree.length);
  // Processes count that are started in its namespace alone.
  const command = group ? [inside] : limited(bounds, 0, [inside]);
  let begun: Promise<number | undefined> | undefined;
  try {
    const args = [...apart(denies), ...network, ...system(readable), ...(await ofRun(places)), ...sealed];
    await onReady();
    onBegin();
    const ended = await runInGroup(
      {
        // It enters the group before anything else is started, so that nothing is left out of it.
        ...entering(group, [program, '--args', '4', '--', ...command]),
        directory: '/',
        environment: { ...environment, ...own },
        stdin,
        output,
        onStart,
        // Not on the command line, where every run would see paths of its own.
        feed: args.map((one) => `${one}\0`).join(''),
        onPipe: (pipe) => {
          begun = firstProcess(pipe);
        },
        // The first process of the sandbox has signals for itself alone, and its end is that of all others.
        terminate: async () => {
          const first = await begun;
          for (const pid of first === undefined ? [] : childrenOf(first)) kill(pid, 'SIGTERM');
        },
      },
      signal,
      graceMs,
    );
    return { ...ended, ...((await group?.end()) ?? { killedForMemory: 0 }) };
  } catch (error) {
    await group?.end();
    throw error;
  }
}

/** The network of the machine, and what tells how names are looked up there. */
const sharedNetwork = [
  '--share-net',
  ...['resolv.conf', 'nsswitch.conf'].flatMap((name) => ['--ro-bind-try', `/etc/${name}`, `/etc/${name}`]),
];

/** Namespaces of its own. */
function apart(denies: boolean): string[] {
  return [
    ...[
      '--unshare-all',
      '--unshare-user',
      ...(denies ? ['--disable-userns'] : []),
      '--uid',
      nobody,
      '--gid',
      nobody,
      '--hostname',
      'memoir',
    ],
    ...['--die-with-parent', '--cap-drop', 'ALL', '--proc', '/proc', '--dev', '/dev'],
  ];
}

/**
 * Read-only are the root, and /proc too: files below /proc/sys are the machine's, and would be written by a script of a worker that is root, which it is outside.
 */
const sealed = ['--remount-ro', '/proc', '--remount-ro', '/'];

/** What of /etc programs want that tells nothing of the machine's users. */
const settings = [
  'alternatives',
  'ca-certificates',
  'fonts',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'mime.types',
  'perl',
  'protocols',
  'services',
  'ssl/certs',
  'ssl/openssl.cnf',
  'terminfo',
];
const families = /^(java|python|R$|ImageMagick)/;

/** The system, read only. */
function system(readable: readonly string[]): string[] {
  const roots = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].flatMap((name) => {
    const found = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (found?.isSymbolicLink()) return ['--symlink', readlinkSync(`/${name}`), `/${name}`];
    return found ? ['--ro-bind', `/${name}`, `/${name}`] : [];
  });
  const more = readdirSync('/etc').filter((name) => families.test(name));
  return [
    ...['--ro-bind', '/usr', '/usr', ...roots],
    ...[...settings, ...more].flatMap((name) => ['--ro-bind-try', `/etc/${name}`, `/etc/${name}`]),
    ...readable.flatMap((directory) => ['--ro-bind', directory, directory]),
  ];
}

/** The places of a run, and who its script is. */
async function ofRun(places: RunPlaces): Promise<string[]> {
  const made = async (name: string, text: string) => {
    const path = join(places.directory, name);
    await writeFile(path, text);
    return ['--ro-bind', path, `/etc/${name}`];
  };
  const bind = (from: string, to: string) => ['--bind', from, to];
  return [
    ...bind(places.tree, insidePaths.tree),
    ...bind(places.output, insidePaths.output),
    ...bind(places.tmp, insidePaths.tmp),
    ...bind(places.tmp, '/tmp'),
    ...bind(places.tmp, '/var/tmp'),
    ...bind(places.progressDirectory, insideProgress),
    ...['--ro-bind', places.parameters, insidePaths.parameters],
    ...['--ro-bind-try', places.unhashed, insidePaths.unhashed],
    ...['--ro-bind-try', places.inputs, insidePaths.inputs],
    ...['--ro-bind-try', places.inputsJson, insidePaths.inputsJson],
    ...['--ro-bind-try', places.secrets, insidePaths.secrets],
    ...(await made('passwd', `memoir:x:${nobody}:${nobody}::${insidePaths.tmp}:/bin/sh\n`)),
    ...(await made('group', `memoir:x:${nobody}:\n`)),
    ...(await made('hosts', '127.0.0.1 localhost memoir\n::1 localhost\n')),
    ...['--info-fd', '3', '--chdir', insidePaths.tree],
  ];
}

/** Number of the first process of the sandbox, as bubblewrap tells it; undefined if it ends before. */
async function firstProcess(pipe: Readable): Promise<number | undefined> {
  let text = '';
  try {
    for await (const piece of pipe.setEncoding('utf8')) text += piece;
    return (JSON.parse(text) as { readonly 'child-pid': number })['child-pid'];
  } catch {
    return undefined;
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}
