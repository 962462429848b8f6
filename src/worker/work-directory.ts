import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { processStart } from './process-start.js';
import { removeTree } from './remove-tree.js';

const prefix = 'memoir-worker-';

/** Name of the file that names the process to which a directory belongs: a worker's, or in a run's directory the script's. */
const ownerFile = 'owner';

/** A directory of a worker's own. */
export type WorkDirectory = {
  readonly path: string;
  /** Removes it. */
  remove(): Promise<void>;
};

/**
 * Makes a directory for a worker under `base` that only its user can enter. Those that workers of this user which died left there
 * are removed, and the scripts that they left running are killed: their leases have run out.
 */
export async function openWorkDirectory(base: string, pid: number): Promise<WorkDirectory> {
  for (const name of await readdir(base)) {
    if (name.startsWith(prefix)) await removeIfDead(join(base, name));
  }
  const path = await mkdtemp(join(base, prefix));
  await writeOwner(path, pid);
  return { path, remove: () => removeTree(path) };
}

/** Notes in a directory to which process it belongs. */
export async function writeOwner(directory: string, pid: number): Promise<void> {
  await writeFile(join(directory, ownerFile), `${pid} ${await processStart(pid)}`);
}

async function removeIfDead(path: string): Promise<void> {
  try {
    const found = await stat(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) return;
    const owner = await readOwner(path);
    if (!owner || (await processStart(owner.pid)) === owner.start) return;
    for (const run of await readdir(path)) await killScript(join(path, run));
    await removeTree(path);
  } catch {
    // Another worker removes it at this moment, or it is not a worker's; it is left alone.
  }
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
