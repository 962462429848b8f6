import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { copyDurably, createDurably, syncDirectory } from '../files/durable-file.js';
import { makeDirectory } from '../make-directory.js';
import { asideDirectory } from './opening.js';

/** Going on with a log that is not what was known of it. Until it has ended, a file in its directory says that it was begun. */
export type Acceptance = {
  /** Where things are moved that were kept of the log before. */
  readonly directory: string;
  /** Id of the generation that begins: a UUID. */
  readonly generation: string;
};

const marker = 'accepting';

/** The acceptance that was begun and did not end, as its server died; undefined if there is none. */
export function unfinishedAcceptance(dataDirectory: string): Acceptance | undefined {
  const names = readdirSync(dataDirectory).filter((name) => name.startsWith('aside-'));
  const directory = names.map((name) => join(dataDirectory, name)).find((path) => existsSync(join(path, marker)));
  return directory === undefined
    ? undefined
    : { directory, generation: readFileSync(join(directory, marker), 'utf8').trim() };
}

/** Begins an acceptance, with a directory that is made for it. @throws Error naming the path if it cannot be written */
export function beginAcceptance(dataDirectory: string, edge: Edge): Acceptance {
  const generation = edge.uuid();
  const directory = asideDirectory(dataDirectory, edge, generation);
  makeDirectory(directory, { mode: 0o700 });
  const path = join(directory, marker);
  createDurably(path, `${generation}\n`, { aside: `${path}.lock`, mode: 0o600 });
  syncDirectory(dataDirectory);
  return { directory, generation };
}

/** Everything that it takes is done. */
export function endAcceptance({ directory }: Acceptance): void {
  rmSync(join(directory, marker));
}

/** Keeps the WAL of a log before SQLite changes it, and takes one away that is of another file. */
export function keepWal({ directory }: Acceptance, path: string, foreign: boolean): void {
  for (const suffix of ['-wal', '-shm']) {
    const to = join(directory, basename(path) + suffix);
    if (!existsSync(path + suffix)) continue;
    copyDurably(path + suffix, to);
    if (foreign) rmSync(path + suffix);
  }
}

/** Words that say of an acceptance that it was begun. */
export function begunWords({ directory }: Acceptance): string {
  return `going on with it as it was then had begun and did not end, as ${quote(join(directory, marker))} shows`;
}
