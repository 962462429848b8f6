import { readFileSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
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
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => (line.startsWith('"') && line.endsWith('"') ? unquote(line) : line));
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}

function unquote(line: string): string {
  const bytes = line
    .slice(1, -1)
    .replace(/\\([0-7]{3})|\\(.)/gs, (_, octal?: string, escaped = '') =>
      octal ? String.fromCharCode(Number.parseInt(octal, 8)) : ({ n: '\n', t: '\t' }[escaped as string] ?? escaped),
    );
  // Octal escapes are bytes of UTF-8, while what is not escaped is text already.
  return /[^\0-\xff]/.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}
