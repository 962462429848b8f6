import { readFileSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { unquote } from '../c-quoted.js';
import { fileKind } from '../file-kind.js';
import { errno } from '../problem.js';

/** git follows no longer chain of alternates. */
const deepest = 5;

/**
 * An object directory and those that it borrows from by `info/alternates` (gitrepository-layout(5)), in git's order. Those that
 * do not exist are left out, as git does.
 */
export function findObjectDirectories(directory: string): string[] {
  const found = new Set<string>();
  const visit = (path: string, depth: number) => {
    const real = realpathSync(path);
    if (found.has(real)) return;
    found.add(real);
    if (depth === deepest) return;
    for (const line of lines(join(real, 'info', 'alternates'))) {
      const target = resolve(real, line);
      if (fileKind(target) === 'directory') visit(target, depth + 1);
    }
  };
  visit(directory, 0);
  return [...found];
}

function lines(file: string): string[] {
  try {
    // Byte by byte: escapes are of bytes, and what is not escaped is UTF-8.
    return readFileSync(file, 'latin1')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => Buffer.from(unquoted(line), 'latin1').toString('utf8'));
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}

/** The whole line if it is not one name in quotes. */
function unquoted(line: string): string {
  const found = unquote(line);
  return found?.rest === '' ? found.name : line;
}
