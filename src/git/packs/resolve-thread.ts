import { serveThread } from '../../threads/serve-thread.js';
import type { HashAlgorithm } from '../hash.js';
import { createPageCache } from '../objects/paged-file.js';
import { type KnownObjects, openKnownObjects } from './known-objects.js';
import { packFile } from './pack-file.js';
import { type PackLimits, packBudget } from './pack-limits.js';
import { PackTable } from './pack-table.js';
import { type PackTaker, packTaker } from './pack-taker.js';
import { resolveShare, type SharedWork } from './resolve-share.js';

// A thread that helps to resolve the deltas of a pack.

/** A pack whose entries stand in a table, and what they are looked at with. */
export type ResolveWork = {
  /** Open for reading, by whichever thread. */
  readonly file: number;
  /** Where its entries end. */
  readonly end: number;
  readonly hash: HashAlgorithm;
  readonly shallow: ReadonlySet<string>;
  readonly limits: PackLimits;
  readonly most: number;
  readonly table: PackTable;
  readonly shared: SharedWork;
  /** The place of this thread among those that share the work. */
  readonly own: number;
  /** Object directory of what is known. */
  readonly directory: string;
};

const pageBytes = 8 * 1024 * 1024;

const open = () => {
  let known: KnownObjects | undefined;
  let table: PackTable | undefined;
  let taker: PackTaker | undefined;
  return {
    resolve({ file, end, hash, shallow, limits, most, table: sent, shared, own, directory }: ResolveWork): void {
      known = openKnownObjects(directory, hash, createPageCache(pageBytes), limits.deltaBytes);
      table = PackTable.of(sent);
      taker = packTaker(table, { hash, known, shallow, most });
      const budget = packBudget(limits, () => performance.now(), shared.spent, own);
      resolveShare(packFile(file, end), table, budget, taker, shared);
    },
    checkLinks({ table: sent, sorted }: { readonly table: PackTable; readonly sorted: Uint32Array }): void {
      if (table) Object.assign(table, PackTable.of(sent));
      taker?.checkLinks(sorted);
    },
    close: () => known?.close(),
  };
};

/** The thread's type. */
export type ResolveThread = typeof open;

serveThread(open);
