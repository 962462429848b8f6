import { constants } from 'node:fs';
import { access, lstat, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { quote } from '../domain/errors.js';
import { readLayout } from '../git/layout.js';
import type { Place } from './health.js';
import { keptPlace, repositoryPlace, storePlace, workPlace } from './run-failure.js';
import type { ContentStore } from './store/content-store.js';
import type { WorkDirectory } from './work-directory.js';

/** What a worker was given to work with. */
export type PlaceSettings = {
  /** The directory in which the worker has its own. */
  readonly workBase: string;
  readonly work: WorkDirectory;
  /** Where outputs are kept; undefined if they are uploaded. */
  readonly storage: { readonly directory: string; readonly store: ContentStore } | undefined;
  readonly kept: string | undefined;
  readonly repositories: Readonly<Record<string, { readonly path: string }>>;
  /** Fewest bytes that have to be free where jobs run and where their outputs are kept. */
  readonly minFreeBytes: number;
};

/** The places of a worker, each with a probe that is cheap enough for every claim. */
export function workerPlaces(settings: PlaceSettings): Place[] {
  const { workBase, work, storage, kept, repositories, minFreeBytes } = settings;
  return [
    {
      name: workPlace,
      async probe() {
        await isDirectory(workBase);
        await work.restore();
        await hasSpace(work.path, minFreeBytes);
        await canRun(work.path);
      },
    },
    ...(storage === undefined
      ? []
      : [
          {
            name: storePlace,
            async probe() {
              await storage.store.probe();
              await hasSpace(storage.directory, minFreeBytes);
            },
          },
        ]),
    ...(kept === undefined ? [] : [{ name: keptPlace, probe: () => isReadable(kept) }]),
    ...Object.entries(repositories).map(([name, { path }]) => ({
      name: repositoryPlace(name),
      // Its jobs may still run from what is kept, but their commits may not be kept yet.
      repository: name,
      async probe() {
        await isReadable(readLayout(name, path).objectDir);
      },
    })),
  ];
}

async function isDirectory(path: string): Promise<void> {
  if (!(await stat(path)).isDirectory()) throw new Error(`${quote(path)} is no directory`);
}

async function isReadable(path: string): Promise<void> {
  await isDirectory(path);
  await access(path, constants.R_OK | constants.X_OK);
}

async function hasSpace(path: string, bytes: number): Promise<void> {
  const { bavail, bsize, ffree, files } = await statfs(path);
  const free = bavail * bsize;
  if (free < bytes) throw new Error(`${quote(path)} has ${free} bytes free, of ${bytes} that are to be (--min-free)`);
  // Some file systems, such as btrfs, have no fixed number of files and say 0 of 0.
  if (files > 0 && ffree === 0) throw new Error(`${quote(path)} has no room for another file (no free inodes)`);
}

/** Whether files can be made in a directory, and run from it. */
async function canRun(directory: string): Promise<void> {
  const path = join(directory, 'probe');
  await rm(path, { force: true });
  try {
    await writeFile(path, '#!/bin/sh\n', { flag: 'wx', mode: 0o700 });
    if (await isNoexec(path))
      throw new Error(`${quote(directory)} is on a file system that no program may be run from (noexec)`);
  } finally {
    await rm(path, { force: true });
  }
}

/** Whether a file that is marked as executable may not be run all the same, since its file system is mounted so. */
export async function isNoexec(path: string): Promise<boolean> {
  if (((await lstat(path)).mode & 0o100) === 0) return false;
  return access(path, constants.X_OK).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'EACCES',
  );
}
