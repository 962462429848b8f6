import { readFile } from 'node:fs/promises';

/**
 * When a process started, in the system's ticks, so that another process with the same number is told apart: "gone" if there is
 * none, "unknown" where the system does not say.
 */
export async function processStart(pid: number): Promise<string> {
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
