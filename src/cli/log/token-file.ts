import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { MemoirError, quote } from '../../domain/errors.js';

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

/**
 * Keeps a token in a file, which has either the token before or this one whenever the process ends.
 * @throws MemoirError naming the file if it cannot be written
 */
export function writeTokenFile(path: string, token: string): void {
  try {
    writeFileSync(`${path}.new`, `${token}\n`);
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw unusable(path, `cannot be written: ${(error as Error).message}`, error);
  }
}

function unusable(path: string, why: string, cause?: unknown): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', 'BAD_RESUME_FILE', `--resume ${quote(path)} ${why}`, { cause });
}
