import type { BigIntStats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { quote } from '../domain/errors.js';
import type { RunPlaces } from './run/run-places.js';

/** How many files are named. */
const named = 3;

/** Most entries of a working directory that are looked at. */
const mostEntries = 1_000_000;

/**
 * What is to be said of a script that left its output empty but wrote into its working directory; empty if it did not.
 * @param entries - how many files, links and directories were checked out
 */
export async function strayFiles(places: RunPlaces, entries: number): Promise<string> {
  if (await hasFiles(places.output)) return '';
  // The parameters were written when the tree was there and the script had not begun. Clocks of file systems tick in milliseconds, so
  // what the script wrote at once may be as old; then there is more than was checked out.
  const began = (await lstat(places.parameters, { bigint: true }).catch(() => undefined))?.ctimeNs;
  if (began === undefined) return '';
  const found = await filesIn(places.tree);
  const newer = found.files.filter(({ ctimeNs }) => ctimeNs > began);
  const more = Math.max(newer.length, found.entries - entries);
  if (more <= 0) return '';
  const youngest = [...found.files].sort((a, b) => Number(b.ctimeNs - a.ctimeNs)).slice(0, Math.min(named, more));
  const names = youngest.map(({ path }) => quote(relative(places.tree, path), 100)).join(', ');
  return (
    `the output is empty, but the script wrote into its working directory (${names}${more > youngest.length ? ', …' : ''}); ` +
    'only what it puts into the directory that MEMOIR_OUTPUT names is kept'
  );
}

async function hasFiles(top: string): Promise<boolean> {
  const left = [top];
  for (let directory = left.pop(); directory !== undefined; directory = left.pop()) {
    for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
      if (!entry.isDirectory()) return true;
      left.push(join(directory, entry.name));
    }
  }
  return false;
}

type Found = { readonly path: string; readonly ctimeNs: bigint };

async function filesIn(top: string): Promise<{ readonly files: readonly Found[]; readonly entries: number }> {
  const files: Found[] = [];
  let entries = 0;
  const left = [top];
  for (let directory = left.pop(); directory !== undefined && entries < mostEntries; directory = left.pop()) {
    for (const name of await readdir(directory).catch(() => [])) {
      entries += 1;
      const path = join(directory, name);
      const found: BigIntStats | undefined = await lstat(path, { bigint: true }).catch(() => undefined);
      if (found?.isDirectory()) left.push(path);
      else if (found) files.push({ path, ctimeNs: found.ctimeNs });
    }
  }
  return { files, entries };
}
