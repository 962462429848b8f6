import { lstat, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { quote } from '../domain/errors.js';
import { tryLock } from '../file-lock.js';
import { makeDirectory } from '../make-directory.js';
import { processStart } from './process-start.js';
import { removeTree } from './remove-tree.js';

const prefix = 'memoir-worker-';

/** Most workers that may share a directory. */
const mostWorkers = 10_000;

/** Name of the file that names the process to which a directory belongs: a worker's, or in a run's directory the script's. */
const ownerFile = 'owner';

/** A directory of a worker's own. */
export type WorkDirectory = {
  readonly path: string;
  /** Makes it again, if something has removed it. @throws Error of the system */
  restore(): Promise<void>;
  /** Removes it. */
  remove(): Promise<void>;
};

/**
 * Makes a directory for a worker under `base` that only its user can enter. Its name is the first free one of memoir-worker-1,
 * memoir-worker-2, …, so that it is the same whenever and wherever a worker runs. Those that workers of this user which died left there
 * are removed, and the scripts that they left running are killed: their leases have run out.
 * @throws Error of the system
 */
export async function openWorkDirectory(base: string, pid: number): Promise<WorkDirectory> {
  for (const name of await readdir(base)) {
    if (!name.startsWith(prefix)) continue;
    const number = /^[1-9][0-9]{0,3}$/.exec(name.slice(prefix.length))?.[0];
    if (number === undefined) await removeIfDead(join(base, name));
    else await removeUnlocked(base, Number(number));
  }
  for (let number = 1; number <= mostWorkers; number++) {
    const found = await claimNumber(base, number, pid);
    if (found) return found;
  }
  throw new Error(`${quote(base)} has no free name for the directory of a worker`);
}

/** Notes in a directory to which process it belongs. */
export async function writeOwner(directory: string, pid: number): Promise<void> {
  await writeFile(join(directory, ownerFile), `${pid} ${await processStart(pid)}`);
}

async function claimNumber(base: string, number: number, pid: number): Promise<WorkDirectory | undefined> {
  const path = join(base, `${prefix}${number}`);
  const unlock = lock(base, number);
  if (!unlock) return undefined;
  try {
    // Whose lock is free but whose directory is there belongs to another user, or could not be removed.
    await mkdir(path, { mode: 0o700 });
    await writeOwner(path, pid);
  } catch (error) {
    unlock();
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw error;
  }
  return {
    path,
    async restore() {
      if (makeDirectory(path, { mode: 0o700 })) await writeOwner(path, pid);
    },
    async remove() {
      await removeTree(path);
      unlock();
    },
  };
}

/** Takes the lock of a number; undefined if another worker has it, or another user's worker had it. */
function lock(base: string, number: number): (() => void) | undefined {
  try {
    return tryLock(join(base, `.${prefix}${number}.lock`));
  } catch {
    return undefined;
  }
}

async function removeUnlocked(base: string, number: number): Promise<void> {
  const path = join(base, `${prefix}${number}`);
  const unlock = lock(base, number);
  if (!unlock) return;
  try {
    const found = await lstat(path);
    if (found.isDirectory() && found.uid === process.getuid?.()) await removeDead(path);
  } catch {
    // What cannot be removed stays, and the next number is taken.
  } finally {
    unlock();
  }
}

/** Removes a directory of a worker whose name was drawn at random, as they were before. */
async function removeIfDead(path: string): Promise<void> {
  try {
    const found = await stat(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) return;
    const owner = await readOwner(path);
    if (!owner || (await processStart(owner.pid)) === owner.start) return;
    await removeDead(path);
  } catch {
    // Another worker removes it at this moment, or it is not a worker's; it is left alone.
  }
}

async function removeDead(path: string): Promise<void> {
  for (const run of await readdir(path)) await killScript(join(path, run));
  await removeTree(path);
}

/** Kills the process group of a run's script, where its leader still is the process that the worker had started. */
async function killScript(run: string): Promise<void> {
  const script = await readOwner(run).catch(() => undefined);
  if (!script || script.start === 'unknown' || (await processStart(script.pid)) !== script.start) return;
  process.kill(-script.pid, 'SIGKILL');
}

async function readOwner(directory: string): Promise<{ pid: number; start: string } | undefined> {
  const [, pid, start] = /^([1-9][0-9]*) (.*)$/.exec(await readFile(join(directory, ownerFile), 'utf8')) ?? [];
  return pid === undefined || start === undefined ? undefined : { pid: Number(pid), start };
}

/**
 * Empties the place of a run: what an earlier one left there is removed, or moved aside if that cannot be.
 * @throws Error of the system
 */
export async function emptyPlace(directory: string, aside: string): Promise<void> {
  try {
    await removeTree(directory);
  } catch {
    await rename(directory, aside);
  }
}
