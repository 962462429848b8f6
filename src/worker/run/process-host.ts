import { constants } from 'node:fs';
import { access, open } from 'node:fs/promises';
import { runInGroup } from '../process-group.js';
import { entering, type MakeGroup } from './control-group.js';
import { limited, tasksOfUser } from './process-limits.js';
import type { RunHost } from './run-host.js';
import type { RunPlaces } from './run-places.js';
import { hostPaths } from './script-paths.js';

/**
 * Whether the system will run a file, as far as its beginning tells: a program, or a script whose interpreter is there. Any other is left to it, which
 * says what is wrong.
 */
async function canRun(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    const begin = buffer.toString('latin1', 0, bytesRead);
    if (begin.startsWith('\x7fELF')) return true;
    const [, interpreter] = /^#![ \t]*([^ \t\n]+)/.exec(begin) ?? [];
    if (interpreter === undefined) return false;
    return await access(interpreter, constants.X_OK).then(
      () => true,
      () => false,
    );
  } finally {
    await file.close();
  }
}

/**
 * Runs scripts as any other process of the worker's user, kept apart from nothing. Where the worker may make control groups, a run is in one of
 * its own, so that it is measured, and nothing of it is left when it has ended; elsewhere each of its processes is bounded.
 */
export function processHost(places: RunPlaces, uuid: () => string, makeGroup: MakeGroup): RunHost {
  return {
    paths: hostPaths(places),
    ran: {},
    async run({ path, environment, own, stdin, output, onStart, onReady, onBegin, bounds }, signal, graceMs) {
      const runs = await canRun(path);
      const group = runs ? makeGroup(`memoir-${uuid()}`, bounds) : undefined;
      const [first = path, ...args] = runs && !group ? limited(bounds, tasksOfUser(), [path]) : [path];
      const program = {
        ...(group ? entering(group, [path]) : { path: first, args }),
        directory: places.tree,
        environment: { ...environment, ...own },
        stdin,
        output,
        onStart,
      };
      try {
        await onReady();
        onBegin();
        const ended = await runInGroup(program, signal, graceMs);
        return { ...ended, ...((await group?.end()) ?? { killedForMemory: 0 }) };
      } catch (error) {
        await group?.end();
        throw error;
      }
    },
  };
}
