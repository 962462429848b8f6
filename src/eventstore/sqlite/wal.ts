import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

// The format is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.

const headerLength = 32;
const frameHeaderLength = 24;
const magics = { littleEndian: 0x377f0682, bigEndian: 0x377f0683 } as const;

/** Frames that are read at once. */
const framesAtOnce = 256;

/** A page that was written to a WAL. */
export type WalFrame = {
  /** Number of the page, from 1 on. */
  readonly page: number;
  /** How many pages the database has after the transaction that the frame ends; 0 if it ends none. */
  readonly committedPages: number;
  /** Whether it has the salts of this WAL, rather than of an earlier one in the same file. */
  readonly current: boolean;
  /** Whether it and all before it are what was written, by the checksum. */
  readonly whole: boolean;
  /** The page, until the next frame is asked for. */
  readonly content: Buffer;
};

/** A write-ahead log of SQLite that is open for reading. */
export type Wal = {
  /** What tells it from an earlier one in the same file. */
  readonly salts: Buffer;
  /** Whether the header is what was written, by its checksum. SQLite takes none of the frames behind another. */
  readonly headerWhole: boolean;
  /** The frames, broken ones too. */
  frames(): Generator<WalFrame>;
  close(): void;
};

/** Opens a WAL; undefined if there is none, it is empty, or its header is none. */
export function openWal(path: string): Wal | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const header = Buffer.alloc(headerLength);
    const isHeader = readSync(file, header, 0, headerLength, 0) === headerLength;
    const wal = isHeader ? walOf(file, header) : undefined;
    if (!wal) closeSync(file);
    return wal;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function walOf(file: number, header: Buffer): Wal | undefined {
  const magic = header.readUInt32BE(0);
  const pageSize = header.readUInt32BE(8);
  if (magic !== magics.littleEndian && magic !== magics.bigEndian) return undefined;
  if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) return undefined;
  const littleEndian = magic === magics.littleEndian;
  const salts = header.subarray(16, 24);
  const first = walSum(header.subarray(0, 24), [0, 0], littleEndian);
  const headerWhole = standsAt(header, 24, first);
  const { size } = fstatSync(file);
  return {
    salts,
    headerWhole,
    *frames() {
      const frameLength = frameHeaderLength + pageSize;
      const count = Math.floor((size - headerLength) / frameLength);
      const chunk = Buffer.alloc(Math.min(framesAtOnce, count) * frameLength);
      let sums = first;
      let whole = headerWhole;
      for (let at = headerLength; at + frameLength <= size; ) {
        const frames = Math.floor(readSync(file, chunk, 0, chunk.length, at) / frameLength);
        if (frames === 0) return;
        at += frames * frameLength;
        for (let i = 0; i < frames; i++) {
          const frame = chunk.subarray(i * frameLength, (i + 1) * frameLength);
          const content = frame.subarray(frameHeaderLength);
          const current = frame.compare(salts, 0, 8, 8, 16) === 0;
          whole &&= current;
          if (whole) {
            sums = walSum(content, walSum(frame.subarray(0, 8), sums, littleEndian), littleEndian);
            whole = standsAt(frame, 16, sums);
          }
          yield { page: frame.readUInt32BE(0), committedPages: frame.readUInt32BE(4), current, whole, content };
        }
      }
    },
    close: () => closeSync(file),
  };
}

/** A checksum of a WAL, or of the index beside it. */
export type WalSum = readonly [number, number];

const littleEndianMachine = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** The checksum over words of 32 bits in some order of bytes, unless given that of the machine; it goes on from `before`. */
export function walSum(bytes: Buffer, before: WalSum, littleEndian = littleEndianMachine): WalSum {
  let [one, other] = before;
  if (littleEndian === littleEndianMachine && bytes.byteOffset % 4 === 0) {
    // The words as they stand in memory, which is several times as fast.
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    for (let i = 0; i < words.length; i += 2) {
      one = (one + (words[i] as number) + other) | 0;
      other = (other + (words[i + 1] as number) + one) | 0;
    }
  } else {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; at += 8) {
      one = (one + view.getInt32(at, littleEndian) + other) | 0;
      other = (other + view.getInt32(at + 4, littleEndian) + one) | 0;
    }
  }
  return [one >>> 0, other >>> 0];
}

function standsAt(bytes: Buffer, at: number, [one, other]: WalSum): boolean {
  return bytes.readUInt32BE(at) === one && bytes.readUInt32BE(at + 4) === other;
}
