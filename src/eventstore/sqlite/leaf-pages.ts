import { quote } from '../../domain/errors.js';
import type { LeafPage } from '../../domain/log-tree/leaf-page.js';
import { startThread, type Thread } from '../../threads/thread.js';
import { storeErrors } from '../port.js';
import { isDamage } from './leaf-reader.js';
import type { LeafThread } from './leaf-thread.js';
import { openLogReader } from './schema.js';

/** Positions that a thread is asked for at once: a multiple of the leaves in a tile, so that the roots of tiles can be used. */
const rangeLength = 2_048;

/** Ranges that are read ahead for each thread, so that none waits for the one that takes the pages. */
const ahead = 3;

/** How a log is read. */
export type LeafPagesOptions = {
  /** Threads that read; as many as can read at once. */
  readonly threads: number;
  /** Position of the last event to read. */
  readonly end: number;
};

/**
 * The events of the log at `path` as leaves, in order, read and hashed by threads of their own. Memory does not grow with the log.
 * @throws what a thread throws, as where the file cannot be opened
 */
export async function* sqliteLeafPages(path: string, { threads, end }: LeafPagesOptions): AsyncGenerator<LeafPage> {
  const db = openLogReader(path);
  const following = db.prepare('SELECT position FROM event WHERE position > ? ORDER BY position LIMIT 1').pluck();
  const file = new URL('./leaf-thread.js', import.meta.url);
  const name = `a thread that reads the event log ${quote(path)}`;
  const readers = Array.from({ length: threads }, () =>
    startThread<LeafThread>(file, { path }, { name, errors: storeErrors }),
  );
  const asked: Promise<LeafPage>[] = [];

  function positionAfter(position: number): number | undefined {
    try {
      return following.get(position) as number | undefined;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return undefined;
    }
  }

  let turn = 0;
  let after = 0;
  try {
    for (;;) {
      while (after < end && asked.length < threads * ahead) {
        const to = Math.min(end, after + rangeLength);
        const page = (readers[turn++ % threads] as Thread<LeafThread>).call.read({ after, to });
        // It may fail before it is waited for.
        page.catch(() => undefined);
        asked.push(page);
        after = to;
      }
      const page = await asked.shift();
      if (!page) return;
      if (page.positions.length > 0) yield page;
      // Where nothing stands for long, as after a row whose position was changed to a huge one, it is passed over at once.
      else if (after < end) {
        const next = positionAfter(after);
        if (next !== undefined) after = Math.max(after, next - 1 - ((next - 1) % rangeLength));
      }
    }
  } finally {
    await Promise.all(readers.map((reader) => reader.terminate()));
    db.close();
  }
}
