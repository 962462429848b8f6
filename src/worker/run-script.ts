import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import canonicalize from 'canonicalize';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../domain/errors.js';
import { checkout } from '../git/checkout.js';
import { findScript } from './find-script.js';
import { findTree, type TreePlaces } from './find-tree.js';
import { type Ended, runInGroup } from './process-group.js';
import { RunFailure } from './run-failure.js';
import { writeOwner } from './work-directory.js';

/** The places of one run, all in a directory that is made for it and removed after it. */
export type RunPlaces = {
  readonly directory: string;
  readonly tree: string;
  readonly output: string;
  readonly tmp: string;
  readonly parameters: string;
  readonly progress: string;
  readonly log: string;
};

/** How to run scripts. */
export type ScriptSettings = TreePlaces & {
  /** Environment that every script gets beside Memoir's own variables. */
  readonly environment: Readonly<Record<string, string>>;
  /** Time between SIGTERM and SIGKILL, in milliseconds. */
  readonly graceMs: number;
};

/** The places of a run in a directory. */
export function placesIn(directory: string): RunPlaces {
  return {
    directory,
    tree: join(directory, 'tree'),
    output: join(directory, 'output'),
    tmp: join(directory, 'tmp'),
    parameters: join(directory, 'parameters.json'),
    progress: join(directory, 'progress.json'),
    log: join(directory, 'log.txt'),
  };
}

/**
 * Environment of scripts that is the same everywhere, and the variables of this process that are named.
 * @throws MemoirError INVALID_ARGUMENT naming a variable that is not set
 */
export function scriptEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  pass: readonly string[],
): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: own.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    TZ: 'UTC',
  };
  for (const name of pass) {
    const value = own[name];
    if (value === undefined) {
      throw new MemoirError('INVALID_ARGUMENT', 'UNSET_VARIABLE', `--pass-env ${quote(name)}: the variable is not set`);
    }
    environment[name] = value;
  }
  return environment;
}

/** Makes the places of a run, so that the log file is there before the script. */
export async function makePlaces(places: RunPlaces): Promise<void> {
  await mkdir(places.output);
  await mkdir(places.tmp);
  await writeFile(places.log, '', { flag: 'wx' });
}

/**
 * Checks a job's commit out and runs its script there, with the parameters as canonical JSON on standard input. Its output and
 * errors go to the log file as they come.
 * @throws RunFailure if it cannot be run; the signal's reason if that aborts before the script has started
 */
export async function runScript(
  job: Job,
  places: RunPlaces,
  settings: ScriptSettings,
  signal: AbortSignal,
): Promise<Ended> {
  await checkOut(await findTree(job, settings, signal), job.scriptVersion, places.tree, signal);
  const path = await findScript(places.tree, job.script, job.scriptVersion);
  await writeFile(places.parameters, canonicalize(job.scriptParameters ?? {}) as string, { flag: 'wx', mode: 0o444 });
  signal.throwIfAborted();

  const stdin = await open(places.parameters, 'r');
  const log = await open(places.log, 'a');
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
    };
    // A note for the worker that finds the directory if this one dies; without it the script goes on until it ends by itself.
    const onStart = (pid: number) => void writeOwner(places.directory, pid).catch(() => {});
    const program = { path, directory: places.tree, environment, stdin: stdin.fd, output: log.fd, onStart };
    return await runInGroup(program, signal, settings.graceMs);
  } finally {
    await stdin.close();
    await log.close();
  }
}

async function checkOut(repository: string, commit: string, tree: string, signal: AbortSignal): Promise<void> {
  try {
    await checkout(repository, commit, tree, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof MemoirError) throw new RunFailure(error.reason, error.message);
    throw new RunFailure('CHECKOUT_FAILED', `commit ${commit} cannot be checked out: ${(error as Error).message}`);
  }
}
