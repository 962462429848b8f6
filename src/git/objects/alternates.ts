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
    // Byte by byte: escapes are of bytes, and what is not escaped is UTF-8.
    return readFileSync(file, 'latin1')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => Buffer.from(line.startsWith('"') ? (unquote(line) ?? line) : line, 'latin1').toString('utf8'));
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/** The bytes of a text in quotes as git quotes paths (`unquote_c_style`), one character each; undefined if it is not quoted so. */
function unquote(line: string): string | undefined {
  const quoted = /^"((?:[^"\\]|\\(?:[0-3][0-7]{2}|[abfnrtv\\"]))*)"$/.exec(line)?.[1];
  return quoted?.replace(/\\(?:([0-7]{3})|(.))/g, (_, octal: string | undefined, letter: string) =>
    octal === undefined ? (escapes[letter] ?? letter) : String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
