import { execFile } from 'node:child_process';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeDirectory } from '../make-directory.js';

/** How many pipes one process makes. */
const atOnce = 32;

/** Named pipes that were made ahead. */
export type Pipes = {
  /**
   * Puts a pipe at a path, for its owner alone.
   * @throws Error of the system
   */
  put(path: string): Promise<void>;
};

/**
 * Keeps pipes in a directory, which is made where it is not. Node.js can make none itself, and a process for each would hold every
 * run up.
 */
export function pipesIn(directory: string): Pipes {
  let ready: string[] = [];
  let made = 0;
  let making: Promise<void> | undefined;

  async function make(): Promise<void> {
    makeDirectory(directory, { mode: 0o700 });
    const names = Array.from({ length: atOnce }, () => join(directory, String(++made)));
    await promisify(execFile)('mkfifo', ['-m', '600', ...names]);
    ready.push(...names);
  }

  /** One process at a time. */
  function more(): Promise<void> {
    making ??= make().finally(() => {
      making = undefined;
    });
    return making;
  }

  /** As `more`; what was being made already may have lost its directory meanwhile, and says nothing of the next. */
  async function some(): Promise<void> {
    const joined = making !== undefined;
    await more().catch((error: unknown) => {
      if (!joined) throw error;
    });
  }

  return {
    async put(path) {
      for (let attempt = 1; ; attempt++) {
        while (ready.length === 0) await some();
        const pipe = ready.shift() as string;
        // Whoever needs one next does not wait for it, and is told what goes wrong.
        if (ready.length < atOnce / 2) more().catch(() => {});
        try {
          return await rename(pipe, path);
        } catch (error) {
          // Somebody may have removed the directory with all that was in it, and what was being made just then.
          if (attempt === 3 || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          ready = [];
        }
      }
    },
  };
}
