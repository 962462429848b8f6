import { fingerprint } from '../files/fingerprint.js';

/** How often files are looked at for a change, in milliseconds. */
const interval = 500;

/** Files that are looked at for changes, until it is closed. */
export type Watched = { close(): void };

/**
 * Calls `changed` when one of some files is another than when it was last read, and again at intervals as long as that throws, so that files which are
 * replaced one after the other do no harm. What goes on being wrong is told to `failed`, once for each state of the files.
 */
export function watchFiles(paths: readonly string[], changed: () => void, failed: (error: Error) => void): Watched {
  const state = () => paths.map(fingerprint).join('\n');
  let seen = state();
  /** Times that the files as they are could not be used; undefined once they were. */
  let failures: number | undefined;
  const timer = setInterval(() => {
    try {
      const now = state();
      if (now !== seen) failures = 0;
      if (failures === undefined) return;
      seen = now;
      changed();
      failures = undefined;
    } catch (error) {
      failures = (failures ?? 0) + 1;
      if (failures === 2) failed(error as Error);
    }
  }, interval);
  timer.unref();
  return { close: () => clearInterval(timer) };
}
