import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceDurably } from '../../../files/durable-file.js';
import { makeDirectory } from '../../../make-directory.js';
import type { GraphLayer } from '../graph-layers.js';

// Which files of a commit-graph were found intact is remembered where Memoir keeps what it has of a repository, by what they are: a server that
// starts anew need not compute their checksums before its first answer.

const fileIn = (directory: string) => join(directory, 'intact-commit-graph');

/** Whether a file, by its identity, was found intact before. */
export function knownIntact(keptIn: string | undefined): (identity: string) => boolean {
  const known = new Set(keptIn === undefined ? [] : read(keptIn));
  return (identity) => known.has(identity);
}

/** Remembers that the checksums of all layers are right, in place of what was remembered before. That it cannot does no harm. */
export function noteIntact(keptIn: string | undefined, layers: readonly GraphLayer[]): void {
  const found = layers.flatMap(({ identity }) => identity ?? []);
  if (keptIn === undefined || found.length < layers.length) return;
  const before = read(keptIn);
  if (found.length === before.length && found.every((identity, i) => identity === before[i])) return;
  try {
    makeDirectory(keptIn);
    replaceDurably(fileIn(keptIn), `${found.join('\n')}\n`);
  } catch {
    // The next server computes the checksums.
  }
}

function read(keptIn: string): string[] {
  try {
    return readFileSync(fileIn(keptIn), 'latin1').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}
