import { existsSync, readdirSync, statSync } from 'node:fs';
import type { Bounds } from './run-host.js';

/** Sets limits of a process (getrlimit(2)) and goes on as another program; of util-linux. */
const program = '/usr/bin/prlimit';

/**
 * How a command is run that no control group bounds: each of its processes may have as much memory of its own (RLIMIT_DATA) as the job
 * asked for, and no more processes are started than there may be (RLIMIT_NPROC, which counts all of a user and is nothing to root). As it
 * is where the system has no such program.
 * @param others how many tasks count that are not the run's
 */
export function limited(bounds: Bounds, others: number, command: readonly string[]): readonly string[] {
  if (!existsSync(program)) return command;
  const memory = bounds.ramAsked ? [`--data=${bounds.ramMb * 1024 ** 2}`] : [];
  return [program, ...memory, `--nproc=${others + bounds.processes}`, '--', ...command];
}

/** How many tasks, threads included, this process's user has now. */
export function tasksOfUser(): number {
  const uid = process.getuid?.();
  let tasks = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (statSync(`/proc/${name}`).uid === uid) tasks += readdirSync(`/proc/${name}/task`).length;
    } catch {
      // It has ended meanwhile.
    }
  }
  return tasks;
}
