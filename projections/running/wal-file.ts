import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

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

const headerLength = 32;
const frameHeaderLength = 24;
const magics = { littleEndian: 0x377f0682, bigEndian: 0x377f0683 } as const;
const nothing: WalContent = { salts: '', frames: 0, sums: new Map(), pages: 0 };

/**
 * Reads the write-ahead log beside a database (https://www.sqlite.org/fileformat2.html#the_write_ahead_log) up to the first frame whose
 * checksum is wrong, as SQLite does when it recovers one.
 */
export function readWal(databasePath: string): WalContent {
  let bytes: Buffer;
  try {
    bytes = readFileSync(`${databasePath}-wal`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothing;
    throw error;
  }
  if (bytes.length < headerLength) return nothing;
  const magic = bytes.readUInt32BE(0);
  if (magic !== magics.littleEndian && magic !== magics.bigEndian) return nothing;
  const sum = walChecksum(bytes, magic === magics.bigEndian);
  sum.add(0, 24);
  if (!sum.stands(24)) return nothing;
  const pageSize = bytes.readUInt32BE(8);
  const salts = bytes.toString('hex', 16, 24);
  const sums = new Map<number, number>();
  const open = new Map<number, number>();
  let frames = 0;
  let pages = 0;
  for (let n = 1, at = headerLength; at + frameHeaderLength + pageSize <= bytes.length; n++) {
    const data = at + frameHeaderLength;
    if (bytes.toString('hex', at + 8, at + 16) !== salts) break;
    sum.add(at, 8);
    sum.add(data, pageSize);
    if (!sum.stands(at + 16)) break;
    open.set(bytes.readUInt32BE(at), crc32(bytes.subarray(data, data + pageSize)));
    const size = bytes.readUInt32BE(at + 4);
    if (size > 0) {
      for (const [page, content] of open) sums.set(page, content);
      open.clear();
      [frames, pages] = [n, size];
    }
    at = data + pageSize;
  }
  return { salts, frames, sums, pages };
}

const littleEndianHost = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** The checksum of a write-ahead log, over all that is added, in words of 32 bits. */
function walChecksum(bytes: Buffer, bigEndian: boolean) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The words as they stand in memory, where that is what they mean.
  const asTheyStand = littleEndianHost !== bigEndian && bytes.byteOffset % 4 === 0;
  const words = asTheyStand ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2) : undefined;
  let [one, other] = [0, 0];

  function addWords(all: Int32Array, start: number, end: number): void {
    let [first, second] = [one, other];
    for (let i = start; i < end; i += 2) {
      first = (first + (all[i] as number) + second) | 0;
      second = (second + (all[i + 1] as number) + first) | 0;
    }
    [one, other] = [first, second];
  }

  return {
    add(start: number, length: number): void {
      if (words) {
        addWords(words, start >> 2, (start + length) >> 2);
        return;
      }
      for (let at = start; at < start + length; at += 8) {
        one = (one + view.getInt32(at, !bigEndian) + other) | 0;
        other = (other + view.getInt32(at + 4, !bigEndian) + one) | 0;
      }
    },
    /** Whether it is what stands at a place. */
    stands: (at: number) => view.getInt32(at) === one && view.getInt32(at + 4) === other,
  };
}
