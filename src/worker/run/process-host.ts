import { runInGroup } from '../process-group.js';
import type { RunHost } from './run-host.js';
import type { RunPlaces } from './run-places.js';
import { hostPaths } from './script-paths.js';

/** Runs scripts as any other process of the worker's user, kept apart from nothing. */
export function processHost(places: RunPlaces): RunHost {
  return {
    paths: hostPaths(places),
    ran: {},
    async run({ path, environment, own, stdin, output, onStart, onBegin }, signal, graceMs) {
      const program = {
        path,
        args: [],
        directory: places.tree,
        environment: { ...environment, ...own },
        stdin,
        output,
        onStart,
      };
      onBegin();
      return { ...(await runInGroup(program, signal, graceMs)), killedForMemory: 0 };
    },
  };
}
