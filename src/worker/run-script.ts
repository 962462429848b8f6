import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import canonicalize from 'canonicalize';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../domain/errors.js';
import { checkout } from '../git/checkout.js';
import { findScript } from './find-script.js';
import { findTree, type TreePlaces } from './find-tree.js';
import { type Staging, stageInputs } from './inputs/stage-inputs.js';
import type { Pipes } from './pipes.js';
import { type Ended, runInGroup } from './process-group.js';
import { PlaceFault, RunFailure, repositoryPlace, workPlace } from './run-failure.js';
import { openRunLog, type RunLog } from './run-log.js';
import { emptyPlace, writeOwner } from './work-directory.js';

/** The places of one run, all in a directory that is made for it and removed after it. */
export type RunPlaces = {
  readonly directory: string;
  readonly tree: string;
  readonly output: string;
  readonly tmp: string;
  readonly parameters: string;
  readonly inputs: string;
  readonly inputsJson: string;
  readonly progress: string;
  readonly log: string;
  /** The script's end of the log. */
  readonly pipe: string;
};

/** How to run scripts. */
export type ScriptSettings = TreePlaces & {
  /** Environment that every script gets beside Memoir's own variables. */
  readonly environment: Readonly<Record<string, string>>;
  /** Time between SIGTERM and SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** How runs are given their inputs. */
  readonly staging: Staging;
};

/** The places of a run in a directory. */
export function placesIn(directory: string): RunPlaces {
  return {
    directory,
    tree: join(directory, 'tree'),
    output: join(directory, 'output'),
    tmp: join(directory, 'tmp'),
    parameters: join(directory, 'parameters.json'),
    inputs: join(directory, 'inputs'),
    inputsJson: join(directory, 'inputs.json'),
    progress: join(directory, 'progress.json'),
    log: join(directory, 'log.txt'),
    pipe: join(directory, 'log.pipe'),
  };
}

/** A run whose places are there, but that has no job yet. */
export type PreparedRun = {
  readonly places: RunPlaces;
  readonly log: RunLog;
  /** Removes all of it. @throws Error of the system */
  remove(): Promise<void>;
};

/**
 * Makes the places of a run in a directory of its own, so that what cannot be made is known before a job is claimed.
 * @throws Error of the system
 */
export async function prepareRun(directory: string, aside: string, pipes: Pipes): Promise<PreparedRun> {
  await emptyPlace(directory, aside);
  const places = placesIn(directory);
  await mkdir(directory, { mode: 0o700 });
  await mkdir(places.output);
  await mkdir(places.tmp);
  const log = await openRunLog(places.log, places.pipe, pipes);
  return {
    places,
    log,
    async remove() {
      await log.close();
      await emptyPlace(directory, aside);
    },
  };
}

/** How a script ended, and what it found when it began. */
export type Ran = Ended & {
  /** How many files, links and directories were checked out. */
  readonly entries: number;
};

/**
 * Checks a job's commit out, puts its inputs beside it and runs its script there, with the parameters as canonical JSON on standard input. Its output and
 * errors go to `output`, a file descriptor.
 * @throws RunFailure if it cannot be run; the signal's reason if that aborts before the script has started
 */
export async function runScript(
  { job, claimToken }: { readonly job: Job; readonly claimToken: Uint8Array },
  places: RunPlaces,
  output: number,
  settings: ScriptSettings,
  signal: AbortSignal,
): Promise<Ran> {
  const { entries } = await checkOut(job, places.tree, settings, signal);
  const path = await findScript(places.tree, job.script, job.scriptVersion);
  await writeFile(places.parameters, canonicalize(job.scriptParameters ?? {}) as string, { flag: 'wx', mode: 0o444 });
  const inputs = await stageInputs(settings.staging, job, claimToken, places, signal);
  signal.throwIfAborted();

  const stdin = await open(places.parameters, 'r');
  try {
    const environment = {
      ...settings.environment,
      HOME: places.tmp,
      TMPDIR: places.tmp,
      MEMOIR_JOB_UUID: job.uuid,
      MEMOIR_SCRIPT_VERSION: job.scriptVersion,
      MEMOIR_PARAMETERS: places.parameters,
      MEMOIR_OUTPUT: places.output,
      MEMOIR_PROGRESS: places.progress,
      MEMOIR_TMP: places.tmp,
      ...inputs,
    };
    // A note for the worker that finds the directory if this one dies; without it the script goes on until it ends by itself.
    const onStart = (pid: number) => void writeOwner(places.directory, pid).catch(() => {});
    const program = { path, directory: places.tree, environment, stdin: stdin.fd, output, onStart };
    return { ...(await runInGroup(program, signal, settings.graceMs)), entries };
  } finally {
    await stdin.close();
  }
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

async function checkOut(
  job: Job,
  tree: string,
  settings: ScriptSettings,
  signal: AbortSignal,
): Promise<{ readonly entries: number }> {
  const { scriptVersion: commit, repository } = job;
  try {
    const { leaveLfsPointers, leaveSubmodules } = job;
    const options = { signal, leaveLfsPointers, leaveSubmodules };
    return await checkout(await findTree(job, settings, signal), commit, tree, options);
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof MemoirError || error instanceof RunFailure) {
      if (!repositoryFaults.includes(error.reason)) throw new RunFailure(error.reason, error.message);
      throw new PlaceFault(
        repositoryPlace(repository),
        `commit ${commit} cannot be had from repository ${quote(repository)} of the worker (${error.reason})`,
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
