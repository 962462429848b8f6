import { invalid, quote } from '../errors.js';

/** Most code paths of a request. */
export const mostCodePaths = 64;

/** Longest code path, in bytes of UTF-8. */
const longestCodePath = 4_096;

/** The path that stands for all of the tree. */
export const wholeTree = '.';

/**
 * Code paths as they are compared and recorded: without "./" and "/" at the end, in the order of their bytes in UTF-8.
 * @param field - name of the field that has them
 * @throws MemoirError INVALID_ARGUMENT TOO_MANY, or BAD_CODE_PATH naming the path: one that is no path inside a tree, that comes twice, or that is
 * inside another
 */
export function normalCodePaths(given: readonly string[], field = 'code_paths'): readonly string[] {
  if (given.length > mostCodePaths) {
    throw invalid(field, 'TOO_MANY', `${field} names ${given.length} paths, and ${mostCodePaths} is the limit`);
  }
  const places = new Map<string, number>();
  for (const [place, path] of given.entries()) {
    const named = `${field}[${place}]`;
    const normal = normalPath(path, named);
    if (places.has(normal)) throw badCodePath(named, `${quote(path)} comes twice`);
    places.set(normal, place);
  }
  const sorted = [...places.keys()].sort(byBytes);
  for (const path of sorted) {
    const around = sorted.find((other) => other !== path && isInside(path, other));
    if (around === undefined) continue;
    throw badCodePath(`${field}[${places.get(path)}]`, `${quote(path)} is inside ${quote(around)}, which is named too`);
  }
  return sorted;
}

function normalPath(path: string, field: string): string {
  const bytes = Buffer.byteLength(path);
  if (bytes > longestCodePath) {
    throw badCodePath(field, `${quote(path)} has ${bytes} bytes, and ${longestCodePath} is the limit`);
  }
  if (path === '') throw badCodePath(field, '"" is no path');
  if (!path.isWellFormed()) throw badCodePath(field, `${quote(path)} is not UTF-8`);
  if (path.startsWith('/') || path.includes('\0')) throw badCodePath(field, `${quote(path)} is no path inside a tree`);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw badCodePath(field, `${quote(path)} is no path inside a tree`);
  return parts.length === 0 ? wholeTree : parts.join('/');
}

/** The error for a code path that cannot be one. */
export function badCodePath(field: string, what: string): Error {
  return invalid(field, 'BAD_CODE_PATH', `${field} ${what}`);
}

/** Whether a path is one of another's, or that itself. Both are normal. */
export function isInside(path: string, around: string): boolean {
  return around === wholeTree || path === around || path.startsWith(`${around}/`);
}

/** The paths of which each of some normal ones is one or is inside, as few as that are, in the order of their bytes. */
export function codePathsWithin(paths: readonly string[]): readonly string[] {
  const all = [...new Set(paths)];
  return all.filter((path) => !all.some((other) => other !== path && isInside(path, other))).sort(byBytes);
}

/**
 * Checks that a script is in the code paths of its request, which are normal.
 * @throws MemoirError INVALID_ARGUMENT SCRIPT_NOT_IN_CODE_PATHS naming it
 */
export function checkScriptInCode(script: string, paths: readonly string[], whose = 'code_paths'): void {
  if (paths.some((path) => isInside(script, path))) return;
  const named = paths.map((path) => quote(path)).join(', ');
  throw invalid('script', 'SCRIPT_NOT_IN_CODE_PATHS', `script ${quote(script)} is not in ${whose} (${named})`);
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

/** Normal code paths as the rules compare them: JSON; empty for none. */
export function codePathsText(paths: readonly string[]): string {
  return paths.length === 0 ? '' : JSON.stringify(paths);
}

/** The paths of such a text. */
export function codePathsOf(text: string): string[] {
  return text === '' ? [] : (JSON.parse(text) as string[]);
}
