import { readFileSync } from 'node:fs';
import { fingerprint } from './fingerprint.js';

/** How often files are looked at for a change, in milliseconds. */
const interval = 500;

/** How long a changed text must stay as it is to be taken, in milliseconds, and how long if it looks cut off. */
const settledText = 1_000;
const settledIfCut = 5_000;

/** Files that are looked at for changes, until it is closed. */
export type Watched = {
  /** Lets the files be read at once, whether they changed or not. */
  read(): void;
  close(): void;
};

/** A look at the files that finds them changed, or not yet taken as they are. */
export type Look = {
  /** How long they have stayed as they are, as far as was looked, in milliseconds. */
  readonly stayed: number;
  /** Whether they still are as they were at this look: if not, what was read of them may be half of either. */
  same(): boolean;
};

/** What is done with files that changed. */
export type Watching = {
  /**
   * Reads the files, and takes them as they are. It is called again at intervals as long as it throws, so that files which are replaced one
   * after the other do no harm, and if it gives "later" or a promise of that, since they look as if they were still being written.
   */
  changed(look: Look): unknown;
  /** What goes on being wrong is told, once for each state of the files. */
  failed(error: Error): void;
  /** How long files must have stayed as they are to be looked at, in milliseconds; 0 unless given. */
  readonly settled?: number;
};

/** Watches some files, as they are now. A path may name none yet. */
export function watchFiles(paths: readonly string[], { changed, failed, settled = 0 }: Watching): Watched {
  const state = () => paths.map(fingerprint).join('\n');
  let seen = state();
  let since = performance.now();
  /** Times that the files as they are could not be used; undefined once they were. */
  let failures: number | undefined;
  let reading = false;

  async function look(): Promise<void> {
    if (reading) return;
    reading = true;
    try {
      const now = state();
      if (now !== seen) {
        failures = 0;
        seen = now;
        since = performance.now();
      }
      const stayed = performance.now() - since;
      if (failures === undefined || stayed < settled) return;
      if ((await changed({ stayed, same: () => state() === now })) !== 'later') failures = undefined;
    } catch (error) {
      failures = (failures ?? 0) + 1;
      if (failures === 2) failed(error as Error);
    } finally {
      reading = false;
    }
  }

  const timer = setInterval(() => void look(), interval);
  timer.unref();
  return {
    read() {
      failures = 0;
      since = Number.NEGATIVE_INFINITY;
      void look();
    },
    close: () => clearInterval(timer),
  };
}

/**
 * Watches a file of text that people write. A change is taken when the file has stayed as it is for a second, and one that looks cut off, since
 * the text before begins with it, for five: what an editor or a copy has half written must do no harm.
 * @param text - what was read of it
 * @param take - takes another text. It is called again as long as it throws
 */
export function watchText(
  path: string,
  text: string,
  { take, failed }: { take(text: string): unknown; failed(error: Error): void },
): Watched {
  let before = text;
  return watchFiles([path], {
    settled: settledText,
    failed,
    async changed({ stayed, same }) {
      const now = readFileSync(path, 'utf8');
      const cut = now.length < before.length && before.startsWith(now);
      if (!same() || (cut && stayed < settledIfCut)) return 'later';
      await take(now);
      before = now;
      return undefined;
    },
  });
}
