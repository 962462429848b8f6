import { LRUCache } from 'lru-cache';
import type { Call } from '../../threads/methods.js';
import { serveThread } from '../../threads/serve-thread.js';
import { checkoutLimits } from '../checkout-limits.js';
import { createPageCache } from '../objects/paged-file.js';
import type { KeptCommit } from '../port.js';
import { keepCommit, type ToKeep } from './keep-commit.js';

// The thread that copies commits to where they are kept, one after the other: so there is one object in memory at a time, and
// nobody else writes there.

/** Bytes of pages of packs and indexes that are kept. */
const pageBytes = 16 * 1024 * 1024;

/** Trees that are remembered as whole. */
const remembered = 50_000;

function open() {
  const pages = createPageCache(pageBytes);
  const whole = new LRUCache<string, true>({ maxSize: remembered, sizeCalculation: () => 1 });
  let last: Promise<unknown> = Promise.resolve();
  return {
    /** Keeps a commit as `keepCommit` does, after those that were asked for before. */
    keep(what: ToKeep, { signal }: Call): Promise<KeptCommit> {
      const kept = last.then(() => {
        signal.throwIfAborted();
        return keepCommit(what, { limits: checkoutLimits, pages, whole, signal });
      });
      last = kept.catch(() => undefined);
      return kept;
    },
  };
}

/** The thread's type. */
export type KeepThread = typeof open;

serveThread(open);
