import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import canonicalize from 'canonicalize';
import type { Logger } from 'pino';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { codeDigest } from '../domain/code/code-digest.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { checkout } from '../git/checkout.js';
import { findScript } from './find-script.js';
import { findTree, type TreePlaces } from './find-tree.js';
import { type Staging, stageInputs } from './inputs/stage-inputs.js';
import type { Pipes } from './pipes.js';
import { type Images, imageHost } from './run/container.js';
import { type MakeGroup, makeControlGroup } from './run/control-group.js';
import type { KeptCheckouts, PlacedCheckout } from './run/kept-checkouts.js';
import { hasMachineNetwork } from './run/network.js';
import { processHost } from './run/process-host.js';
import type { Bounds, Hosted, RanSoFar, RunHost } from './run/run-host.js';
import { placesIn, type RunPlaces } from './run/run-places.js';
import { type Sandbox, sandboxHost } from './run/sandbox.js';
import { hostPaths, insidePaths, pathVariables, type ScriptPaths } from './run/script-paths.js';
import { PlaceFault, RunFailure, repositoryPlace, workPlace } from './run-failure.js';
import { openRunLog, type RunLog } from './run-log.js';
import { giveSecrets, type WorkerSecrets } from './secrets/give-secrets.js';
import { emptyPlace, writeOwner } from './work-directory.js';

/** How to run scripts. */
export type ScriptSettings = TreePlaces & {
  /** Environment that every script gets beside Memoir's own variables. */
  readonly environment: Readonly<Record<string, string>>;
  /** Time between SIGTERM and SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** How runs are given their inputs. */
  readonly staging: Staging;
  /** Checkouts that runs left as they found them; undefined where runs are not kept apart from them. */
  readonly checkouts?: KeptCheckouts | undefined;
  /** What runs jobs that name an image; undefined if nothing does. */
  readonly images?: Images | undefined;
  /** What keeps all others apart from the rest of the machine; undefined if nothing does. */
  readonly sandbox?: Sandbox | undefined;
  /** Name of the network that jobs may ask for; undefined if none. */
  readonly network?: string | undefined;
  /** Makes control groups of runs without an image; the system's, unless given. */
  readonly makeGroup?: MakeGroup;
  /** What jobs are given that ask for secrets; undefined if it has none. */
  readonly secrets?: WorkerSecrets | undefined;
  readonly edge: Pick<Edge, 'monotonic' | 'uuid'>;
  readonly logger: Logger;
};

/** A run whose places are there, but that has no job yet. */
export type PreparedRun = {
  readonly places: RunPlaces;
  readonly log: RunLog;
  /** What was checked out for it; undefined until that is done. */
  checkout: PlacedCheckout | undefined;
  /** Removes all of it. @throws Error of the system */
  remove(): Promise<void>;
};

/**
 * Makes the places of a run in a directory of its own, so that what cannot be made is known before a job is claimed.
 * @throws Error of the system
 */
export async function prepareRun(
  directory: string,
  aside: string,
  pipes: Pipes,
  secretsIn?: string,
): Promise<PreparedRun> {
  await emptyPlace(directory, aside);
  const places = placesIn(directory, secretsIn);
  await removeSecrets(places);
  await mkdir(directory, { mode: 0o700 });
  await mkdir(places.output);
  await mkdir(places.tmp);
  await mkdir(places.progressDirectory);
  const log = await openRunLog(places.log, places.pipe, pipes);
  return {
    places,
    log,
    checkout: undefined,
    async remove() {
      await log.close();
      await removeSecrets(places);
      await emptyPlace(directory, aside);
    },
  };
}

const removeSecrets = ({ secrets }: RunPlaces) => rm(secrets, { recursive: true, force: true });

/** How a script ended, and what it found when it began. */
export type Ran = Hosted & {
  /** How many files, links and directories were checked out. */
  readonly entries: number;
  /** Path of its file as it was run. */
  readonly inside: string;
};

/** Says in the log, before the script does, what goes on. */
export type Speaker = {
  say(line: string): void;
  /** Resolves when all of it is there, so that the script may begin. */
  said(): Promise<void>;
};

/** What a run is given beside its job. */
export type RunInputs = {
  readonly places: RunPlaces;
  /** File descriptor of the script's output and errors. */
  readonly output: number;
  /** What of the worker it may take. */
  readonly bounds: Bounds;
  readonly speech: Speaker;
  /** Keeps values out of all that is told of the run. */
  readonly hide: (values: readonly Uint8Array[]) => void;
  /** Is told what was checked out. */
  readonly onCheckout: (checkout: PlacedCheckout) => void;
  /** Is told what it runs in and what it takes as that gets known. */
  readonly ran: RanSoFar;
};

/**
 * Checks a job's commit out, puts its inputs beside it and runs its script there, with the parameters as canonical JSON on standard input.
 * @throws RunFailure if it cannot be run; the signal's reason if that aborts before the script has started
 */
export async function runScript(
  {
    job,
    claimToken,
    interested,
  }: { readonly job: Job; readonly claimToken: Uint8Array; readonly interested: readonly string[] },
  { places, output, bounds, speech, hide, onCheckout, ran }: RunInputs,
  settings: ScriptSettings,
  signal: AbortSignal,
): Promise<Ran> {
  const took = stopwatch(settings.edge);
  const placed = await checkOut(job, places.tree, settings, signal);
  onCheckout(placed);
  const { entries, bytes } = placed.done;
  const path = await findScript(places.tree, job.script, job.scriptVersion);
  await writeFile(places.parameters, canonicalize(job.scriptParameters ?? {}) as string, { flag: 'wx', mode: 0o444 });
  if (job.unhashedParameters) {
    const text = canonicalize(job.unhashedParameters) as string;
    await writeFile(places.unhashed, text, { flag: 'wx', mode: 0o444 });
  }
  const inputs = await stageInputs(settings.staging, job, claimToken, places, pathsOf(job, places, settings), signal);
  ran.stagedBytes = BigInt(bytes) + inputs.bytes;
  ran.phases.staged = took();
  const host = await hostOf(job, places, settings, speech.say, signal).finally(speech.said);
  Object.assign(ran, host.ran);
  signal.throwIfAborted();
  const hasSecrets = job.secrets.length > 0;
  if (hasSecrets) {
    const held = settings.secrets?.held ?? [];
    hide(await giveSecrets(held, job, interested, places, settings.logger, signal));
  }

  const stdin = await open(places.parameters, 'r');
  try {
    const script = {
      path,
      places,
      environment: settings.environment,
      own: {
        ...pathVariables(host.paths),
        ...inputs.variables,
        ...(job.unhashedParameters && { MEMOIR_UNHASHED: host.paths.unhashed }),
        ...(hasSecrets && { MEMOIR_SECRETS: host.paths.secrets }),
        MEMOIR_JOB_UUID: job.uuid,
        // By its commit a run could differ from that of another commit with the same code.
        ...(job.codePaths.length > 0
          ? { MEMOIR_CODE_DIGEST: job.codeDigest }
          : { MEMOIR_SCRIPT_VERSION: job.scriptVersion }),
      },
      stdin: stdin.fd,
      output,
      bounds,
      // A note for the worker that finds the directory if this one dies; without it the script goes on until it ends by itself.
      onStart: (pid: number) => void writeOwner(places.directory, pid).catch(() => {}),
      onReady: async () => {
        // In a container it has another owner by now.
        if (!placed.marks || job.dockerImageLocator !== '') await settings.checkouts?.mark(placed);
      },
      onBegin: () => {
        ran.phases.started = took();
      },
    };
    const hosted = await host.run(script, signal, settings.graceMs);
    ran.phases.ran = took();
    if (hosted.peakRamBytes !== undefined) ran.peakRamBytes = hosted.peakRamBytes;
    if (hosted.cpuMs !== undefined) ran.cpuTime = durationFromMs(Math.round(hosted.cpuMs));
    return { ...hosted, entries, inside: host.paths.tree + path.slice(places.tree.length) };
  } finally {
    await stdin.close();
    if (hasSecrets) await removeSecrets(places);
  }
}

/** The paths that the script of a job sees. */
export function pathsOf(
  { dockerImageLocator }: Job,
  places: RunPlaces,
  { sandbox }: Pick<ScriptSettings, 'sandbox'>,
): ScriptPaths {
  return dockerImageLocator === '' && !sandbox ? hostPaths(places) : insidePaths;
}

/** What a job runs in. */
async function hostOf(
  job: Job,
  places: RunPlaces,
  { images, sandbox, network, makeGroup = makeControlGroup, edge }: ScriptSettings,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<RunHost> {
  if (job.dockerImageLocator === '') {
    if (!sandbox) return processHost(places, edge.uuid, makeGroup);
    return sandboxHost(sandbox, edge.uuid, makeGroup, hasMachineNetwork(job, network));
  }
  // A server of an earlier version, or below log format 4, gives any job to any worker.
  if (!images) {
    const why = `the job names the image ${quote(job.dockerImageLocator)}, and this worker runs none`;
    throw new RunFailure('NO_IMAGE_RUNTIME', why, Fault.PLACE);
  }
  return imageHost(images, job, say, signal);
}

/** Gives how long it is since it was made, or since it was last asked. */
export function stopwatch({ monotonic }: Pick<Edge, 'monotonic'>): () => Duration {
  let last = monotonic();
  return () => {
    const now = monotonic();
    const ms = Math.round(now - last);
    last = now;
    return durationFromMs(ms);
  };
}

/** Reasons for which a commit cannot be had from the worker's repository, although it may be whole elsewhere. */
const repositoryFaults = [
  'COMMIT_NOT_KEPT',
  'NOT_A_REPOSITORY',
  'OBJECT_MISSING',
  'REPOSITORY_DAMAGED',
  'REPOSITORY_UNAVAILABLE',
  'UNKNOWN_REPOSITORY',
  'UNSUPPORTED_REPOSITORY',
];

/** That what is missing was never meant to be in the worker's repository, where that is so. */
function partialText(error: Error): string {
  const remote = error instanceof MemoirError ? error.metadata.partialOf : undefined;
  return remote === undefined ? '' : `: it is a partial clone, and what it lacks is at its remote ${quote(remote)}`;
}

async function checkOut(
  job: Job,
  tree: string,
  settings: ScriptSettings,
  signal: AbortSignal,
): Promise<PlacedCheckout> {
  const { scriptVersion: commit, repository, dockerImageLocator: image } = job;
  let [placed, key]: [PlacedCheckout | undefined, string] = [undefined, ''];
  try {
    const { leaveLfsPointers, leaveSubmodules, codePaths } = job;
    const ready = async (id: string) => {
      // Of those in a container, the owner may be another.
      key = JSON.stringify([id, leaveLfsPointers, leaveSubmodules, codePaths, image !== '']);
      placed = await settings.checkouts?.take(key, tree);
      return placed?.done;
    };
    const options = { signal, leaveLfsPointers, leaveSubmodules, paths: codePaths, ready };
    const done = await checkout(await findTree(job, settings, signal), commit, tree, options);
    if (codePaths.length > 0 && codeDigest(done.code) !== job.codeDigest) {
      const what = `commit ${commit} has the code ${codeDigest(done.code)} at the code paths, and the job is of code ${job.codeDigest}`;
      throw new RunFailure('CODE_DIFFERS', what);
    }
    return placed ?? { key, place: tree, done, marks: undefined };
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof MemoirError || error instanceof RunFailure) {
      if (!repositoryFaults.includes(error.reason)) throw new RunFailure(error.reason, error.message);
      throw new PlaceFault(
        repositoryPlace(repository),
        `commit ${commit} cannot be had from repository ${quote(repository)} of the worker (${error.reason}${partialText(error)})`,
        error,
      );
    }
    const { code, path = '' } = error as NodeJS.ErrnoException;
    if (code === undefined) {
      throw new RunFailure('CHECKOUT_FAILED', `commit ${commit} cannot be checked out: ${(error as Error).message}`);
    }
    // A name that is too long, or that the file system takes for another, is the tree's.
    if (['ENAMETOOLONG', 'EEXIST', 'EILSEQ', 'EINVAL'].includes(code)) {
      const at = path.startsWith(`${tree}/`) ? ` at ${quote(path.slice(tree.length + 1))}` : '';
      throw new RunFailure('CHECKOUT_FAILED', `commit ${commit} cannot be checked out${at} (${code})`);
    }
    const place = path === '' || path.startsWith(tree) ? workPlace : repositoryPlace(repository);
    throw new PlaceFault(place, `commit ${commit} cannot be checked out (${code})`, error);
  }
}
