import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MemoirError, quote } from '../../domain/errors.js';
import { replaceDurably, syncDirectory } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import { digestOf, directoryName } from '../directory-name.js';
import { fileKind } from '../file-kind.js';
import type { HashAlgorithm } from '../hash.js';
import { readLayout } from '../layout.js';
import { openRefs } from '../refs.js';

/** How the names of files begin that are still being written. git takes them for leftovers of its own and prunes them. */
export const temporaryPrefix = 'tmp_obj_memoir_';

/**
 * Where the commits of a repository's jobs are kept, in the directory of all that are kept.
 * @param place - where the repository is; under one name there may have been several
 */
export function keptPath(root: string, repository: string, place: string): string {
  return join(root, `${directoryName(repository)}-${digestOf(place)}.git`);
}

/** Wherever commits of jobs of a repository are kept, of whatever places it was at, and from the time when places were not told apart. */
export function keptPaths(root: string, repository: string): string[] {
  const name = directoryName(repository);
  const isOne = (file: string) => file === `${name}.git` || (file.startsWith(`${name}-`) && file.endsWith('.git'));
  return (fileKind(root) ? readdirSync(root) : []).filter(isOne).map((file) => join(root, file));
}

/**
 * The ref of a job in the repository where its commit is kept.
 * @throws MemoirError INVALID_ARGUMENT if it is no uuid, which could name a file elsewhere
 */
export function keptRef(uuid: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) return `refs/memoir/jobs/${uuid}`;
  throw new MemoirError('INVALID_ARGUMENT', 'BAD_UUID', `${quote(uuid)} is not the uuid of a job`);
}

/**
 * The repository where the commit of a job is kept, whole; undefined if it is not, or not yet.
 * @throws MemoirError if that repository is damaged, or the uuid is none
 */
export function findKept(root: string, repository: string, uuid: string, commit: string): string | undefined {
  const ref = keptRef(uuid);
  for (const path of keptPaths(root, repository)) {
    if (!fileKind(join(path, 'HEAD'))) continue;
    const refs = openRefs(readLayout(repository, path), Date.now);
    try {
      if (refs.read(ref) === commit) return path;
    } finally {
      refs.close();
    }
  }
  return undefined;
}

/** Makes the repository where commits are kept unless it is there, and removes what a crash left behind. */
export function prepareKept(path: string, hash: HashAlgorithm): void {
  if (!fileKind(join(path, 'HEAD'))) {
    for (const part of ['objects/info', 'objects/pack', 'refs/memoir/jobs']) {
      makeDirectory(join(path, part));
    }
    const format =
      hash.name === 'sha1'
        ? '[core]\n\trepositoryformatversion = 0\n'
        : `[extensions]\n\tobjectformat = ${hash.name}\n[core]\n\trepositoryformatversion = 1\n`;
    // Nothing is collected behind Memoir's back: what is being kept has no ref before it is whole.
    replaceDurably(join(path, 'config'), `${format}\tbare = true\n[gc]\n\tauto = 0\n`);
    replaceDurably(join(path, 'HEAD'), 'ref: refs/heads/main\n');
    for (const part of ['refs/memoir', 'refs', 'objects', '..']) syncDirectory(join(path, part));
    syncDirectory(dirname(dirname(path)));
  }
  const objects = join(path, 'objects');
  for (const name of readdirSync(objects)) {
    if (name.startsWith(temporaryPrefix)) rmSync(join(objects, name), { force: true });
  }
}
