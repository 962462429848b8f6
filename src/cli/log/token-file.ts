import { readFileSync } from 'node:fs';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import { replaceDurably } from '../../files/durable-file.js';

/**
 * The resume token that a file keeps; undefined if there is no file yet.
 * @throws MemoirError naming the file if it cannot be read or holds no token: to begin elsewhere would be a gap that nobody notices
 */
export function readTokenFile(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(path, `cannot be read: ${(error as Error).message}`, error);
  }
  const token = text.trim();
  if (!/^[\w.-]{1,130}$/.test(token)) throw unusable(path, `holds no resume token: ${quote(token, 60)}`);
  return token;
}

/** Keeps tokens in a file. */
export type TokenFile = {
  /**
   * Keeps this token instead of the one before, now or soon.
   * @throws MemoirError naming the file if it cannot be written, or could not be since the last time
   */
  keep(token: string): void;
  /** Keeps at once what is to be kept soon. @throws as `keep` */
  flush(): void;
};

/** For how long tokens gather, in milliseconds: whoever catches up would wait for the disk at each event otherwise. */
const gatheringMs = 100;

/**
 * Opens the file at `path`, which has one of the tokens, whole, whenever the process or the machine ends: the last one, but for those of a
 * tenth of a second.
 */
export function openTokenFile(path: string): TokenFile {
  let wanted: string | undefined;
  let writtenAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let failure: unknown;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (wanted === undefined) return;
    try {
      replaceDurably(path, `${wanted}\n`, { aside: `${path}.new` });
    } catch (error) {
      throw unusable(path, `cannot be written: ${messageOf((error as Error).cause)}`, error);
    }
    wanted = undefined;
    writtenAt = performance.now();
  }

  function flushLater(): void {
    try {
      flush();
    } catch (error) {
      failure = error;
    }
  }

  return {
    keep(token) {
      if (failure !== undefined) throw failure;
      wanted = token;
      const left = writtenAt + gatheringMs - performance.now();
      if (left <= 0) flush();
      else timer ??= setTimeout(flushLater, left);
    },
    flush,
  };
}

function unusable(path: string, why: string, cause?: unknown): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', 'BAD_RESUME_FILE', `--resume ${quote(path)} ${why}`, { cause });
}
