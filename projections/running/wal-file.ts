import { crc32 } from 'node:zlib';
import { openWal } from '../../src/eventstore/sqlite/wal.js';

/** What is committed in a write-ahead log of SQLite and can be read. */
export type WalContent = {
  /** The salts that tell this log from an earlier one in the same file, in hexadecimal digits; empty if there is none. */
  readonly salts: string;
  /** How many frames, up to the last that ends a transaction. */
  readonly frames: number;
  /** CRC-32 of the last content of each page, by its number from 1 on. */
  readonly sums: ReadonlyMap<number, number>;
  /** How many pages the database has; 0 if no transaction ended. */
  readonly pages: number;
};

const nothing: WalContent = { salts: '', frames: 0, sums: new Map(), pages: 0 };

/** Reads the write-ahead log beside a database up to the first frame whose checksum is wrong, as SQLite does when it recovers one. */
export function readWal(databasePath: string): WalContent {
  const wal = openWal(`${databasePath}-wal`);
  if (!wal) return nothing;
  try {
    if (!wal.headerWhole) return nothing;
    const sums = new Map<number, number>();
    const open = new Map<number, number>();
    let count = 0;
    let frames = 0;
    let pages = 0;
    for (const { page, committedPages, whole, content } of wal.frames()) {
      if (!whole) break;
      count++;
      open.set(page, crc32(content));
      if (committedPages === 0) continue;
      for (const [number, sum] of open) sums.set(number, sum);
      open.clear();
      [frames, pages] = [count, committedPages];
    }
    return { salts: wal.salts.toString('hex'), frames, sums, pages };
  } finally {
    wal.close();
  }
}
