import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

const prefix = 'memoir-worker-';

/** A directory of a worker's own. */
export type WorkDirectory = {
  readonly path: string;
  /** Removes it. */
  remove(): Promise<void>;
};

/**
 * Makes a directory for a worker under `base` that only its user can enter, and removes those that workers of this user which
 * died left there.
 */
export async function openWorkDirectory(base: string, pid: number): Promise<WorkDirectory> {
  for (const name of await readdir(base)) {
    if (name.startsWith(prefix)) await removeIfDead(join(base, name));
  }
  const path = await mkdtemp(join(base, prefix));
  await writeFile(join(path, 'owner'), `${pid} ${await startOf(pid)}`);
  return { path, remove: () => removeTree(path) };
}

async function removeIfDead(path: string): Promise<void> {
  try {
    const found = await stat(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) return;
    const [, pid, start] = /^([0-9]+) (.*)$/.exec(await readFile(join(path, 'owner'), 'utf8')) ?? [];
    if (pid === undefined || (await startOf(Number(pid))) === start) return;
    await removeTree(path);
  } catch {
    // Another worker removes it at this moment, or it is not a worker's; it is left alone.
  }
}

/** When a process started, in the system's ticks, so that another with the same number is told apart; "gone" if there is none. */
async function startOf(pid: number): Promise<string> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8');
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    try {
      process.kill(pid, 0);
      return 'unknown';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'unknown' : 'gone';
    }
  }
}
