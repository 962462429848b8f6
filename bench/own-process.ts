import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a piece of work took. */
export type Measured = {
  readonly seconds: number;
  /** Of the whole process. */
  readonly cpuSeconds: number;
  /** Most memory of the process at any time, in MiB. */
  readonly peakMb: number;
};

/** Runs a script with arguments in a process of its own, so that the peak of its memory is its own; the script calls `measureHere`. */
export function inItsOwnProcess(script: string, args: readonly string[]): Measured {
  const { stdout, status } = spawnSync(process.execPath, [fileURLToPath(script), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`the measurement ${args[0]} ended with ${status}`);
  return JSON.parse(stdout) as Measured;
}

/** Does the work and says to `inItsOwnProcess` what it took. */
export async function measureHere(work: () => Promise<void>): Promise<void> {
  const before = performance.now();
  await work();
  const seconds = (performance.now() - before) / 1_000;
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  const measured: Measured = { seconds, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakMb: peakMb() };
  process.stdout.write(JSON.stringify(measured));
}

/** Peak of this process's own memory. `maxRSS` would begin at that of the process which started it. */
function peakMb(): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kib) / 1_024;
}
