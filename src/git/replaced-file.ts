import { statSync } from 'node:fs';

/** What was made of a file that is replaced as a whole, never written to. */
export type Replaced<T> = {
  /** What is made of the file as it is now. */
  current(): T;
  close(): void;
};

/** Time within which a second change of a file may leave its time stamps as they were, in nanoseconds. */
const racyWindow = 50_000_000n;

/**
 * Follows the file at a path, which need not exist. What was made of it is kept while its inode, size and times stay the same and it was not so
 * young that a second change could hide in the same tick of the clock (git's "racy" rule).
 * @param now - wall-clock time in milliseconds
 * @param load - makes it of the file; undefined if the file, or what it names, is gone meanwhile: then it is looked at again
 * @param missing - what stands for a file that is not there
 */
export function followReplaced<T extends { close(): void }>(
  path: string,
  now: () => number,
  load: () => T | undefined,
  missing: T,
): Replaced<T> {
  let stamp = '';
  let trusted = true;
  let made = missing;

  /** Equal stamps before and after it is loaded are those of what was loaded. */
  function renew(): void {
    for (;;) {
      const before = statOf(path);
      if (!before) return;
      const loaded = load();
      if (!loaded) continue;
      const after = statOf(path);
      if (!after || stampOf(after) !== stampOf(before)) {
        loaded.close();
        continue;
      }
      stamp = stampOf(after);
      trusted = BigInt(Math.floor(now())) * 1_000_000n - newest(after) > racyWindow;
      made = loaded;
      return;
    }
  }

  function close(): void {
    made.close();
    stamp = '';
    trusted = true;
    made = missing;
  }

  return {
    current() {
      const stat = statOf(path);
      if ((stat ? stampOf(stat) : '') !== stamp || !trusted) {
        close();
        renew();
      }
      return made;
    },
    close,
  };
}

type BigStat = { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint };

function statOf(path: string): BigStat | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

function stampOf({ ino, size, mtimeNs, ctimeNs }: BigStat): string {
  return `${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

function newest({ mtimeNs, ctimeNs }: BigStat): bigint {
  return mtimeNs > ctimeNs ? mtimeNs : ctimeNs;
}
