import { readlink, realpath } from 'node:fs/promises';
import { posix } from 'node:path';
import { quote } from '../../domain/errors.js';
import { unstorable, utf8 } from './unstorable.js';

/** A directory that is stored, and under which path of the output. */
export type StoredRoot = {
  /** Its path without symbolic links. */
  readonly real: string;
  /** The same, as the script may know it. */
  readonly given: string;
  /** Path in the output, empty for the output itself. */
  readonly stored: string;
};

/** Where the run took place. */
export type RunDirectories = {
  /** The run's own directory, which is removed after it. */
  readonly run: string;
  /** The worker's directory, in which the runs have theirs. */
  readonly worker: string;
  /** Directories that the script saw elsewhere, as in an image: their paths there, and what these are here. */
  readonly shown?: readonly (readonly [there: string, here: string])[];
};

/** What becomes of a symbolic link: it is kept with this target, or what it leads to is stored in its place. */
export type LinkFate = { readonly target: string } | { readonly follow: string };

/**
 * What becomes of a symbolic link of an output. One that stays in the output is kept, and is relative; one that leads elsewhere in the
 * run is followed, since that is removed a moment later; one that leads out of the run is kept as an absolute path.
 * @param full path of the link
 * @param path the same in the output
 * @param roots what is being stored, the innermost first: the output, and directories that were followed to
 * @param run where the run took place; undefined where nothing is known of a run: links that leave the output are kept then
 * @throws MemoirError FAILED_PRECONDITION UNSTORABLE_OUTPUT if it leads to nothing that will last
 */
export async function fateOfLink(
  full: Buffer,
  path: string,
  roots: readonly StoredRoot[],
  run: RunDirectories | undefined,
): Promise<LinkFate> {
  const text = hereOf(utf8(await readlink(full, { encoding: 'buffer' }), path), run);
  const [root] = roots as readonly [StoredRoot];
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  const ups = parts.findIndex((part) => part !== '..');
  const plain = !parts.includes('..', Math.max(ups, 0)) || ups === -1;
  const depth = posix.relative(root.stored, posix.dirname(path)).split('/').filter(Boolean).length;
  if (!text.startsWith('/') && plain && (ups === -1 ? parts.length : ups) <= depth) return { target: text };

  const from = posix.dirname(full.toString('utf8'));
  const whole = text.startsWith('/') ? text : `${from}/${text}`;
  const lexical = posix.normalize(whole).replace(/(.)\/$/, '$1');
  if (!whole.split('/').includes('..')) {
    const inside = storedPath(lexical, roots);
    if (inside !== undefined) return { target: relativeTo(path, inside) };
  }
  const real = await realpath(whole).catch(() => undefined);
  if (real !== undefined) {
    const inside = storedPath(real, roots);
    if (inside !== undefined) return { target: relativeTo(path, inside) };
  }
  if (!run) return { target: text };
  const shown = `the symbolic link ${quote(path)} to ${quote(text)}`;
  if (real === undefined) {
    if (text.startsWith('/') && !isIn(lexical, run.worker)) return { target: text };
    throw unstorable(`${shown} leads to nothing that is kept after the run`);
  }
  if (real === run.run || isIn(real, run.run)) {
    if (roots.some((one) => one.real === real || isIn(one.real, real))) {
      throw unstorable(`${shown} leads to a directory that it is in itself`);
    }
    return { follow: real };
  }
  if (real === run.worker || isIn(real, run.worker)) {
    throw unstorable(`${shown} leads into the worker's directory, out of the run`);
  }
  return { target: text.startsWith('/') && !isIn(lexical, run.worker) ? text : real };
}

/** The path here of one that a script wrote. */
function hereOf(path: string, run: RunDirectories | undefined): string {
  const [there, here] = run?.shown?.find(([there]) => path === there || isIn(path, there)) ?? [];
  return there === undefined || here === undefined ? path : here + path.slice(there.length);
}

/** Where in the output a path is stored; undefined if it is not. */
function storedPath(path: string, roots: readonly StoredRoot[]): string | undefined {
  for (const { real, given, stored } of roots) {
    for (const root of [real, given]) {
      if (path === root) return stored;
      if (isIn(path, root)) return posix.join(stored, path.slice(root.length + 1));
    }
  }
  return undefined;
}

function relativeTo(link: string, target: string): string {
  return posix.relative(posix.dirname(`/${link}`), `/${target}`) || '.';
}

function isIn(path: string, directory: string): boolean {
  return path.startsWith(directory === '/' ? '/' : `${directory}/`);
}
