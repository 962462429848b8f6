import { availableParallelism } from 'node:os';
import { startThread } from '../../threads/thread.js';
import type { PackTable } from './pack-table.js';
import type { SharedWork } from './resolve-share.js';
import type { ResolveThread, ResolveWork } from './resolve-thread.js';

/** Threads that resolve deltas of a pack, each its share, and look at what the objects name that they took. */
export type HelpingThreads = {
  /** Resolves when they have done their share. @throws Error as `resolveShare` */
  resolved(): Promise<void>;
  /** Looks at what is named, once the table has all. @throws Error as `Links.check` */
  checkLinks(table: PackTable, sorted: Uint32Array): Promise<void>;
  /** Ends them, whatever they do. */
  end(): Promise<void>;
};

/** From so many bytes of a pack on, a thread is worth its start. */
const largePack = 8 * 1024 * 1024;

/** git found more threads to be no faster. */
const mostThreads = 3;

/** How many threads are worth it for a pack of so many bytes, beside the one that begins with it. */
export function worthwhileHelpers(bytes: number): number {
  return bytes < largePack ? 0 : Math.min(mostThreads, availableParallelism()) - 1;
}

/** Nobody helps. */
export const noHelp: HelpingThreads = {
  resolved: async () => undefined,
  checkLinks: async () => undefined,
  end: async () => undefined,
};

/**
 * Begins to resolve deltas in other threads, as many as `shared` is made for.
 * @param directory - object directory of what is known
 */
export function helpingThreads(
  work: Omit<ResolveWork, 'table' | 'shared' | 'own' | 'directory'>,
  table: PackTable,
  shared: SharedWork,
  directory: string | undefined,
): HelpingThreads {
  if (shared.threads === 1 || directory === undefined) return noHelp;
  const file = new URL('./resolve-thread.js', import.meta.url);
  const threads = Array.from({ length: shared.threads - 1 }, () =>
    startThread<ResolveThread>(file, undefined, { name: 'the thread that resolves deltas' }),
  );
  const resolved = Promise.all(
    threads.map(({ call }, i) => call.resolve({ ...work, table, shared, own: i + 1, directory })),
  );
  // This thread may fail before it waits for the others.
  resolved.catch(() => undefined);
  return {
    resolved: async () => void (await resolved),
    async checkLinks(whole, sorted) {
      await Promise.all(threads.map(({ call }) => call.checkLinks({ table: whole, sorted })));
    },
    end: async () => void (await Promise.all(threads.map((thread) => thread.terminate()))),
  };
}
