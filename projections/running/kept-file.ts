import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { isDamage, openSoundFile, removeReadModelFile } from './database.js';
import { checkFile, DamagedFile, hasSums, keepPageSums, type PageSums, removeSums, sumsPath } from './page-sums.js';
import type { Projection } from './projection.js';

/** Up to this many bytes a file is checked when it is opened, which takes about a second for each GiB; the rest follows within `round`. */
const checkedAtOpening = 1024 ** 3;

/** How long a round of checks over the whole file takes, in seconds; longer for files that are larger than `round * most`. */
const round = 60;

/** Bytes of the file that are checked each second. */
const least = 1024 ** 2;
const most = 32 * 1024 ** 2;

/** The log of writes is checked for at most one part in so many of the time. */
const logShare = 200;

/** A file of projections that is checked for as long as it is open. */
export type KeptFile = {
  readonly db: Database.Database;
  /** To be called after every transaction. @throws DamagedFile */
  written(): void;
  /** To be called every second. @throws DamagedFile if the file is not what was written to it, or no longer under its name */
  check(): void;
  close(): void;
  /** Closes it as it is. */
  abandon(): void;
};

/**
 * Opens a file of projections at `path`. One that is damaged is set aside and made anew, as is one of which no checksums are kept (made by
 * an earlier version), which is removed; `onRemade` is told why.
 */
export function openKeptFile(
  path: string,
  projections: readonly Projection[],
  onRemade: (why: string) => void,
): KeptFile {
  if (!existsSync(path)) forgetFile(path);
  else if (!hasSums(path)) {
    forgetFile(path);
    onRemade('no checksums of it are kept');
  } else {
    try {
      checkFile(path, checkedAtOpening);
    } catch (error) {
      if (!(error instanceof DamagedFile)) throw error;
      onRemade(`${error.message}; it is kept as ${setAside(path)}`);
    }
  }
  try {
    return keep(path, openSoundFile(path, projections));
  } catch (error) {
    if (!isDamage(error) && !(error instanceof DamagedFile)) throw error;
    onRemade(`${(error as Error).message}; it is kept as ${setAside(path)}`);
    return keep(path, openSoundFile(path, projections));
  }
}

/** Moves a damaged file out of the way, in the place of an earlier one, and gives its new path. */
export function setAside(path: string): string {
  const aside = `${path}.damaged`;
  for (const suffix of ['', '-wal', '-sums']) {
    rmSync(aside + suffix, { force: true });
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  forgetFile(path);
  return aside;
}

function forgetFile(path: string): void {
  removeReadModelFile(path);
  removeSums(path);
}

function keep(path: string, db: Database.Database): KeptFile {
  let sums: PageSums | undefined;
  try {
    sums = keepPageSums(db, path);
    sums.checkpoint(true);
  } catch (error) {
    sums?.close();
    db.close();
    throw error;
  }
  const kept = sums;
  const names = ['', '-wal', '-shm'].map((suffix) => path + suffix);
  names.push(sumsPath(path));
  const opened = names.map(inodeOf);
  let checkLogAt = 0;

  function abandon(): void {
    db.close();
    kept.close();
  }

  return {
    db,
    written: () => kept.checkpoint(),
    check() {
      const gone = names.find((name, i) => opened[i] !== undefined && inodeOf(name) !== opened[i]);
      if (gone !== undefined) throw new DamagedFile(`${gone} was removed or replaced`);
      kept.checkNext(Math.min(most, Math.max(least, statSync(path).size / round)));
      const begun = performance.now();
      if (begun < checkLogAt) return;
      kept.checkLog();
      checkLogAt = performance.now() + logShare * (performance.now() - begun);
    },
    close() {
      try {
        kept.checkpoint(true);
      } catch {
        // What is wrong is found when the file is opened again.
      }
      abandon();
    },
    abandon,
  };
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}
