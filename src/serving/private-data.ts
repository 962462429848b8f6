import { chmodSync, existsSync, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { messageOf, quote } from '../domain/errors.js';
import { createDurably } from '../files/durable-file.js';
import { makeDirectory } from '../make-directory.js';

/** What others than the owner may do. */
const others = 0o077;

/** Says of a data directory that all in it was made private once, so that a start need not go through all content again. */
const marker = 'private';

/** What Memoir keeps in a data directory, less the key, which is refused where others might have read it (`checkpoint-key.ts`). */
const own =
  /^(events|read-model|history)\.sqlite|^log\.checkpoint|^aside-|\.damaged|^(git|content|content-spool|content-elsewhere|private)$/;

/** What else may stand there. */
const known = /^(checkpoint\.key.*|lost\+found)$/;

/** Paths that were made private, and the mode that each had. */
type Mended = { readonly path: string; readonly mode: string }[];

/** How many of these are named in the log. */
const mostNamed = 20;

/**
 * Makes a data directory for its owner alone, and what Memoir keeps in it, and beside it in `more`: what is too open is mended, as after an earlier
 * version or a restored copy, and said in the log. A directory that holds other things too, or belongs to somebody else, as mount points may, stays as it is
 * itself, which is said as well. Links are not followed. What is made later is private by the umask of the process.
 * @throws Error naming path and mode of what is too open and cannot be mended
 */
export function keepPrivate(
  directory: string,
  more: readonly string[],
  edge: { uuid(): string },
  logger: Logger,
): void {
  if (!existsSync(directory)) {
    makeDirectory(dirname(directory));
    makeDirectory(directory, { mode: 0o700 });
  }
  const mended: Mended = [];
  const names = readdirSync(directory);
  const closed = closeDirectory(directory, names, mended, logger);
  const entries = names.filter((name) => own.test(name)).map((name) => join(directory, name));
  const found = entries.filter((path) => mend(path, lstatSync(path), mended)).length > 0;
  if (closed || found || !names.includes(marker)) for (const path of entries) mendBelow(path, mended);
  for (const path of more) if (existsSync(path)) mend(path, lstatSync(path), mended);
  if (mended.length > 0) {
    logger.warn(
      { count: mended.length, paths: mended.slice(0, mostNamed) },
      'what others than its owner might have read was made private',
    );
  }
  // Nothing is written where it is there: on a full disk the server must start.
  if (names.includes(marker)) return;
  const path = join(directory, marker);
  createDurably(path, '', { aside: `${path}.${edge.uuid()}`, mode: 0o600 });
}

/** Closes the directory itself, where that is Memoir's alone. @returns whether it did */
function closeDirectory(path: string, names: readonly string[], mended: Mended, logger: Logger): boolean {
  const stats = statSync(path);
  if ((stats.mode & others) === 0) return false;
  const strange = names.find((name) => !own.test(name) && !known.test(name));
  const foreign = process.getuid !== undefined && stats.uid !== process.getuid();
  if (strange !== undefined || foreign) {
    const why = foreign ? 'it belongs to another user' : `it holds other things too, such as ${quote(strange ?? '')}`;
    logger.warn({ path, mode: modeOf(stats) }, `others may look into the data directory, which stays so, since ${why}`);
    return false;
  }
  close(path, stats, mended);
  return true;
}

/** Mends all below a directory. */
function mendBelow(directory: string, mended: Mended): void {
  if (!lstatSync(directory).isDirectory()) return;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (!stats) continue;
    mend(path, stats, mended);
    if (stats.isDirectory()) mendBelow(path, mended);
  }
}

/** @returns whether it was too open */
function mend(path: string, stats: Stats, mended: Mended): boolean {
  if (stats.isSymbolicLink() || (stats.mode & others) === 0) return false;
  close(path, stats, mended);
  return true;
}

function close(path: string, stats: Stats, mended: Mended): void {
  try {
    chmodSync(path, stats.mode & 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new Error(
      `${quote(path)} may be used by others than its owner (mode ${modeOf(stats)}), and cannot be made private: ${messageOf(error)}`,
      { cause: error },
    );
  }
  mended.push({ path, mode: modeOf(stats) });
}

const modeOf = ({ mode }: Stats) => (mode & 0o7777).toString(8);

/** The files of an embedded log, which may be elsewhere. */
export const filesOfLog = (path: string): readonly string[] => ['', '-wal', '-shm', '.lock'].map((end) => path + end);
