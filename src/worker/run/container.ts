import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, lchown, opendir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { ImageRuntime } from './image-runtime.js';
import { startMeter, type Taken } from './meter.js';
import { networkOf } from './network.js';
import { noRuntime, type Pull, type PulledImage } from './pull-image.js';
import type { Hosted, HostedScript, RunHost } from './run-host.js';
import type { RunPlaces } from './run-places.js';
import { insidePaths, insideProgress } from './script-paths.js';

/** What jobs that name an image are run with. */
export type Images = {
  readonly runtime: ImageRuntime;
  readonly pull: Pull;
  /** Name of the network that jobs may ask for; undefined if none. */
  readonly network: string | undefined;
  /** Directory of the worker, by which its containers are labelled. */
  readonly workDirectory: string;
  readonly uuid: () => string;
  /** Whether PATH was set for scripts; otherwise it is the image's own. */
  readonly setsPath: boolean;
};

/** Label of the containers of workers: the directory of the worker's own that they ran in. */
const label = 'memoir.work-directory';

/** Who scripts are in a container where the worker is root. */
const nobody = 65_534;

/**
 * Removes the containers that a worker which was killed left behind.
 * @throws RunFailure NO_IMAGE_RUNTIME
 */
export async function removeLeftovers(runtime: ImageRuntime, workDirectory: string): Promise<number> {
  const ask = ['ps', '--all', '--quiet', '--no-trunc', '--filter', `label=${label}=${workDirectory}`];
  const { stdout } = await runtime.command(ask).catch((error: Error) => {
    throw noRuntime(runtime, error);
  });
  const ids = stdout.split('\n').filter((id) => /^[0-9a-f]+$/.test(id));
  if (ids.length > 0) await runtime.command(removal(runtime, ids));
  return ids.length;
}

/** The command that removes containers at once, whatever goes on in them. */
function removal({ name }: ImageRuntime, containers: readonly string[]): string[] {
  return ['rm', '--force', '--volumes', ...(name === 'podman' ? ['--time', '0'] : []), ...containers];
}

/**
 * Has the image of a job pulled, and gives what runs scripts in it.
 * @throws RunFailure by the fault of the place if that cannot be
 */
export async function imageHost(
  images: Images,
  job: Job,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<RunHost> {
  const image = await images.pull(job.dockerImageLocator, say, signal);
  const { name: runtime, version: runtimeVersion } = images.runtime;
  const { manifestDigest, configId, platform, listDigest } = image;
  return {
    paths: insidePaths,
    ran: {
      image: { locator: job.dockerImageLocator, manifestDigest, configId, platform, listDigest },
      runtime,
      runtimeVersion,
    },
    run: (script, ended, graceMs) => runContainer(images, job, image, script, ended, graceMs),
  };
}

async function runContainer(
  images: Images,
  job: Job,
  image: PulledImage,
  script: HostedScript,
  signal: AbortSignal,
  graceMs: number,
): Promise<Hosted> {
  const { runtime } = images;
  const { places } = script;
  const name = `memoir-${images.uuid()}`;
  const pidFile = join(places.directory, 'container.pid');
  const user = await giveAway(places, runtime);
  const args = [...(await runArguments(images, job, script, user, name, pidFile)), image.id];
  signal.throwIfAborted();
  const meter = startMeter(() => pidOf(pidFile), runtime.ownGroups ? groupOf(name) : undefined);
  let end: { readonly code: number | null; readonly signal: NodeJS.Signals | null };
  let taken: Taken;
  let refusedBy: string | undefined;
  let ranOut = false;
  try {
    await script.onReady();
    script.onBegin();
    end = await client(runtime, args, script, name, signal, graceMs);
    // 125 is the runtime's own where it made no container, and else a script's.
    if (end.code === 125 && !signal.aborted && !(await hasStarted(runtime, name))) refusedBy = runtime.name;
    ranOut = runtime.name === 'docker' && (await isOutOfMemory(runtime, name));
  } finally {
    await runtime.command(removal(runtime, [name])).catch(() => {});
    taken = meter.stop();
    await takeBack(places, user);
  }
  const killedForMemory = Math.max(taken.killedForMemory, ranOut ? 1 : 0);
  return { ...end, ...taken, killedForMemory, ...(refusedBy && { refusedBy }) };
}

/** Whether a process of a container was killed for want of memory, as docker's daemon saw it; it does not say how many. */
async function isOutOfMemory(runtime: ImageRuntime, name: string): Promise<boolean> {
  return (await runtime.command(['inspect', '--format', '{{.State.OOMKilled}}', name])).stdout.trim() === 'true';
}

async function hasStarted(runtime: ImageRuntime, name: string): Promise<boolean> {
  const { code, stdout } = await runtime.command(['inspect', '--format', '{{.State.StartedAt}}', name]);
  return code === 0 && !stdout.startsWith('0001-');
}

/** The command that runs the container: its streams are the script's. */
function client(
  runtime: ImageRuntime,
  args: readonly string[],
  script: HostedScript,
  name: string,
  signal: AbortSignal,
  graceMs: number,
): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    let child: ChildProcess;
    try {
      child = spawn(runtime.name, args, { stdio: [script.stdin, script.output, script.output], detached: true });
    } catch (error) {
      reject(noRuntime(runtime, error as Error));
      return;
    }
    if (child.pid !== undefined) script.onStart(child.pid);
    let killer: NodeJS.Timeout | undefined;
    const kill = () => {
      // It may not be there yet: then the command that makes it is ended, and what it left is removed.
      void runtime.command(['kill', '--signal', 'KILL', name]).catch(() => undefined);
      killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    };
    const terminate = () => {
      void runtime.command(['kill', '--signal', 'TERM', name]).catch(() => undefined);
      killer = setTimeout(kill, graceMs);
    };
    const ended = () => {
      signal.removeEventListener('abort', terminate);
      clearTimeout(killer);
    };
    child.once('error', (error) => {
      ended();
      reject(noRuntime(runtime, error));
    });
    child.once('exit', (code, killedBy) => {
      ended();
      resolve({ code, signal: killedBy });
    });
    if (signal.aborted) terminate();
    else signal.addEventListener('abort', terminate, { once: true });
  });
}

async function runArguments(
  images: Images,
  job: Job,
  { path, places, environment, own, bounds }: HostedScript,
  user: readonly [number, number],
  name: string,
  pidFile: string,
): Promise<string[]> {
  const { runtime, network, workDirectory, setsPath } = images;
  const podman = runtime.name === 'podman';
  const has = runtime.bounds;
  const mount = (from: string, to: string, mode: 'rw' | 'ro' = 'rw') => ['--volume', `${from}:${to}:${mode}`];
  const { PATH, ...others } = environment;
  const variables = { ...others, ...(setsPath && PATH !== undefined && { PATH }), ...own };
  return [
    'run',
    ...['--name', name, '--label', `${label}=${workDirectory}`, '--interactive', '--pull', 'never'],
    ...['--network', networkOf(job, network) ?? 'none', '--hostname', 'memoir', '--cgroupns', 'private'],
    ...['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--security-opt', 'label=disable'],
    ...['--user', user.join(':')],
    ...(has.memory ? ['--memory', `${bounds.ramMb}m`, '--memory-swap', `${bounds.ramMb}m`] : []),
    ...(has.cpu ? ['--cpus', String(Math.min(Math.max(bounds.cores, 1), availableParallelism()))] : []),
    ...(has.pids ? ['--pids-limit', String(bounds.processes)] : []),
    ...(runtime.ownGroups ? ['--cgroup-parent', groupOf(name)] : []),
    ...(podman
      ? [
          ...['--log-driver', 'passthrough', '--pidfile', pidFile, '--read-only-tmpfs=false', '--http-proxy=false'],
          ...['--systemd=false', '--image-volume', 'ignore', '--umask', '0022', '--no-healthcheck'],
          ...(runtime.rootless ? ['--userns', `keep-id:uid=${nobody},gid=${nobody}`] : []),
        ]
      : ['--log-driver', 'none', '--no-healthcheck']),
    ...mount(places.tree, insidePaths.tree),
    ...mount(places.output, insidePaths.output),
    ...mount(places.tmp, insidePaths.tmp),
    ...mount(places.tmp, '/tmp'),
    ...mount(places.progressDirectory, insideProgress),
    ...mount(places.parameters, insidePaths.parameters, 'ro'),
    ...(existsSync(places.unhashed) ? mount(places.unhashed, insidePaths.unhashed, 'ro') : []),
    ...((await isDirectory(places.inputs))
      ? [...mount(places.inputs, insidePaths.inputs, 'ro'), ...mount(places.inputsJson, insidePaths.inputsJson, 'ro')]
      : []),
    ...((await isDirectory(places.secrets)) ? mount(places.secrets, insidePaths.secrets, 'ro') : []),
    ...Object.entries(variables).flatMap(([variable, value]) => ['--env', `${variable}=${value}`]),
    ...['--workdir', insidePaths.tree, '--entrypoint', insidePaths.tree + path.slice(places.tree.length)],
  ];
}

const isDirectory = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

function pidOf(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Path of the control group that is made for the one of a container. */
const groupOf = (name: string) => `/memoir/${name}`;

/** What scripts may write. */
const writable = ['tree', 'output', 'tmp', 'progressDirectory'] as const;

/** Makes the script's what it may write: a worker that is root gives it to who has no rights, any other stays who it is. */
async function giveAway(places: RunPlaces, runtime: ImageRuntime): Promise<readonly [number, number]> {
  const [uid, gid] = [process.getuid?.() ?? nobody, process.getgid?.() ?? nobody];
  if (uid !== 0) return runtime.name === 'podman' && runtime.rootless ? [nobody, nobody] : [uid, gid];
  for (const place of writable) await own(places[place], nobody, nobody);
  if (await isDirectory(places.secrets)) await own(places.secrets, nobody, nobody);
  // What the script changes is newer than this, and what was given away is not (see `strayFiles`).
  await chmod(places.parameters, 0o444);
  return [nobody, nobody];
}

/** Makes the worker's again what the script left. */
async function takeBack(places: RunPlaces, [user]: readonly [number, number]): Promise<void> {
  const uid = process.getuid?.();
  if (uid !== 0 || user === 0) return;
  await own(places.output, 0, process.getgid?.() ?? 0);
  await rm(join(places.directory, 'container.pid'), { force: true });
}

/** Sets the owner of all that is below a path, itself included, without following links. */
async function own(path: string, uid: number, gid: number): Promise<void> {
  await lchown(path, uid, gid);
  for await (const entry of await opendir(path)) {
    const at = join(path, entry.name);
    if (entry.isDirectory()) await own(at, uid, gid);
    else await lchown(at, uid, gid);
  }
}
