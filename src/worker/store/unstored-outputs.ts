import { mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Edge } from '../../edge.js';
import { named } from '../../files/durable-file.js';
import { diskUse } from '../disk-use.js';
import { removeTree } from '../remove-tree.js';
import type { RunLog } from '../run-log.js';

/** How long an output is kept that could not be stored, in milliseconds. */
const keptFor = 24 * 3_600_000;

/** How often it is looked whether that time has passed, in milliseconds. */
const sweepEvery = 600_000;

/** Outputs that could not be stored, kept for people for a while. */
export type UnstoredOutputs = {
  /**
   * Moves an output aside that is about to be removed.
   * @param name tells it from others, such as the uuid of its job
   * @returns until when it is kept, in milliseconds since 1970; undefined if it is too large, or cannot be kept
   */
  keep(output: string, name: string): Promise<number | undefined>;
  close(): void;
};

/** Where they are kept. */
export type UnstoredOptions = {
  /** A directory that no other worker uses, on the file system of the runs. */
  readonly directory: string;
  /** Most bytes of the disk that all of them take together; the oldest go first. */
  readonly most: number;
  readonly edge: Pick<Edge, 'now'>;
  readonly logger: Pick<Logger, 'warn'>;
};

type Kept = { readonly path: string; readonly since: number; readonly bytes: number };

/** Opens the directory, and removes what was kept there for long enough. */
export function openUnstoredOutputs({ directory, most, edge, logger }: UnstoredOptions): UnstoredOutputs {
  const sweeping = () => void room(most).catch((error) => logger.warn({ err: error, directory }, 'cannot be swept'));

  /** What is kept there, the oldest first. */
  async function all(): Promise<Kept[]> {
    const names = await readdir(directory).catch(() => []);
    const kept = await Promise.all(
      names.map(async (name): Promise<Kept> => {
        const path = join(directory, name);
        return { path, since: (await stat(path)).mtimeMs, bytes: (await diskUse(path)).bytes };
      }),
    );
    return kept.sort((a, b) => a.since - b.since);
  }

  /** Removes what was kept for long enough, and the oldest until so many bytes at most are kept. */
  async function room(bytes: number): Promise<void> {
    const kept = await all();
    let sum = kept.reduce((before, one) => before + one.bytes, 0);
    for (const one of kept) {
      if (edge.now() - one.since < keptFor && sum <= bytes) continue;
      sum -= one.bytes;
      await removeTree(one.path);
    }
  }

  sweeping();
  const timer = setInterval(sweeping, sweepEvery);
  timer.unref();
  return {
    async keep(output, name) {
      try {
        const { bytes } = await diskUse(output);
        if (bytes > most) return undefined;
        await mkdir(directory, { recursive: true, mode: 0o700 });
        await room(most - bytes);
        const now = edge.now();
        const path = join(directory, `${name}-${new Date(now).toISOString().replaceAll(':', '')}`);
        await named(output, path);
        // It counts from now, not from when the script wrote it last.
        await utimes(path, now / 1_000, now / 1_000);
        logger.warn({ path, until: new Date(now + keptFor).toISOString() }, 'an output that cannot be stored is kept');
        return now + keptFor;
      } catch (error) {
        logger.warn({ err: error, output }, 'an output that cannot be stored cannot be kept either');
        return undefined;
      }
    },
    close: () => clearInterval(timer),
  };
}

/** Reasons of failures for which an output is not stored although the script has ended well. */
const unstorable: readonly string[] = ['UNSTORABLE_OUTPUT', 'OUTPUT_TOO_LARGE'];

/** Keeps the output of a run that failed since it cannot be stored, and says so in its log. @returns whether it was such a failure */
export async function sayUnstored(
  outputs: UnstoredOutputs,
  { reason, message }: { readonly reason: string; readonly message: string },
  { output, log, uuid }: { readonly output: string; readonly log: Pick<RunLog, 'say'>; readonly uuid: string },
): Promise<boolean> {
  if (!unstorable.includes(reason)) return false;
  const until = await outputs.keep(output, uuid);
  const where = until === undefined ? 'it is removed' : `its worker keeps it until ${new Date(until).toISOString()}`;
  await log.say(`memoir: the output cannot be stored: ${message}; ${where}`);
  return true;
}
