import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';

// The formats are those of https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.

const headerLength = 32;
const frameHeaderLength = 24;
/** Frames that are read at once. */
const framesAtOnce = 256;

/** What a WAL and the index beside it say of writes that the log had. */
export type WalFindings = {
  /** What proves that committed writes will be gone once SQLite has opened the log; lines of text, none where nothing does. */
  readonly losses: readonly string[];
  /** True if the WAL was written beside another file, so that SQLite would make of the two what never was. */
  readonly foreign: boolean;
};

type Frame = {
  readonly page: number;
  readonly committedPages: number;
  readonly current: boolean;
  readonly whole: boolean;
};

/**
 * Looks at the WAL of the log at `path`, before SQLite does: SQLite takes the first frame that is not what was written for the end of
 * the log, and what follows is overwritten. That is right after a power cut, in the midst of the last transaction, and nowhere else.
 * That nothing is found does not prove that nothing is missing.
 */
export function inspectWal(path: string): WalFindings {
  const index = readIndex(`${path}-shm`);
  const pages = mainPages(path);
  const wal = openWal(`${path}-wal`);
  if (!wal) {
    // What was written back to the log itself needs no WAL.
    if (!index || index.frames <= index.writtenBack) return { losses: [], foreign: false };
    const gone = index.frames - index.writtenBack;
    return {
      losses: [`its -wal is missing or empty, which had ${gone} pages that it does not have itself`],
      foreign: false,
    };
  }
  try {
    const missing = foreign(wal, pages);
    return { losses: [...lossesOf(wal, index), ...(missing ? [missing] : [])], foreign: missing !== undefined };
  } finally {
    closeSync(wal.file);
  }
}

function* lossesOf(wal: Wal, index: WalIndex | undefined): Generator<string> {
  let committed = 0;
  let frames = 0;
  let broken: { readonly frame: number; readonly committed: boolean } | undefined;
  let behind = 0;
  for (const frame of wal.frames()) {
    frames++;
    if (!broken && !frame.whole) broken = { frame: frames, committed: frame.current && frame.committedPages > 0 };
    else if (broken && frame.current && frame.committedPages > 0) behind++;
    else if (!broken && frame.committedPages > 0) committed = frames;
  }
  // The broken transaction itself may be one that a power cut interrupted: then it was never acknowledged, and is the last.
  if (broken && behind > (broken.committed ? 0 : 1)) {
    yield `frame ${broken.frame} of its -wal is not what was written, and committed writes follow it`;
  }
  if (index?.salts.equals(wal.salts) && index.frames > committed && index.frames > index.writtenBack) {
    yield `its -shm tells of ${index.frames} committed frames in the -wal, and ${committed} of them are whole`;
  }
}

/** Where a WAL was written beside another file than this one, pages are in neither. */
function foreign(wal: Wal, mainPages: number): string | undefined {
  const written = new Set<number>();
  let open: number[] = [];
  let size = 0;
  for (const { page, committedPages, whole } of wal.frames()) {
    if (!whole) break;
    open.push(page);
    if (committedPages === 0) continue;
    for (const one of open) if (one > mainPages) written.add(one);
    open = [];
    size = committedPages;
  }
  // SQLite throws a WAL away that is beside an empty file.
  if (mainPages === 0 && size > 0) return `its -wal has writes up to page ${size}, and the log itself has none`;
  for (let page = mainPages + 1; page <= size; page++) {
    if (written.has(page)) continue;
    return `its -wal is of another file than this, such as a later one: page ${page} of ${size} is in neither`;
  }
  return undefined;
}

type Wal = { readonly file: number; readonly salts: Buffer; frames(): Generator<Frame> };

/** A WAL with a header that is whole; undefined for none, an empty one, and one whose header SQLite would not take. */
function openWal(path: string): Wal | undefined {
  if (!existsSync(path)) return undefined;
  const file = openSync(path, 'r');
  const header = Buffer.alloc(headerLength);
  const length = fstatSync(file).size;
  const magic = readSync(file, header, 0, headerLength, 0) === headerLength ? header.readUInt32BE(0) : 0;
  if (magic !== 0x377f0682 && magic !== 0x377f0683) {
    closeSync(file);
    return undefined;
  }
  const littleEndian = magic === 0x377f0682;
  const pageSize = header.readUInt32BE(8);
  const salts = header.subarray(16, 24);
  const first = sum(header.subarray(0, 24), [0, 0], littleEndian);
  return {
    file,
    salts,
    *frames() {
      const frameLength = frameHeaderLength + pageSize;
      const chunk = Buffer.alloc(framesAtOnce * frameLength);
      let sums = first;
      let whole = first[0] === header.readUInt32BE(24) && first[1] === header.readUInt32BE(28);
      for (let at = headerLength; at + frameLength <= length; ) {
        const read = readSync(file, chunk, 0, chunk.length, at);
        const frames = Math.floor(read / frameLength);
        if (frames === 0) return;
        at += frames * frameLength;
        for (let i = 0; i < frames; i++) {
          const frame = chunk.subarray(i * frameLength, (i + 1) * frameLength);
          const current = frame.subarray(8, 16).equals(salts);
          if (whole && current) {
            sums = sum(frame.subarray(frameHeaderLength), sum(frame.subarray(0, 8), sums, littleEndian), littleEndian);
            whole = sums[0] === frame.readUInt32BE(16) && sums[1] === frame.readUInt32BE(20);
          } else whole = false;
          yield { page: frame.readUInt32BE(0), committedPages: frame.readUInt32BE(4), current, whole };
        }
      }
    },
  };
}

/** SQLite's checksum over words of 32 bits, going on from `before`. */
function sum(bytes: Buffer, before: readonly [number, number], littleEndian: boolean): [number, number] {
  let [a, b] = before;
  for (let i = 0; i < bytes.length; i += 8) {
    a = (a + (littleEndian ? bytes.readUInt32LE(i) : bytes.readUInt32BE(i)) + b) >>> 0;
    b = (b + (littleEndian ? bytes.readUInt32LE(i + 4) : bytes.readUInt32BE(i + 4)) + a) >>> 0;
  }
  return [a, b];
}

type WalIndex = {
  readonly salts: Buffer;
  /** Frames up to the last one of the last commit. */
  readonly frames: number;
  /** How many of them were written back to the log itself. */
  readonly writtenBack: number;
};

/** What the index of a WAL tells, which a process that was killed leaves behind; undefined if it is none that can be believed. */
function readIndex(path: string): WalIndex | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  if (bytes.length < 136 || !bytes.subarray(0, 48).equals(bytes.subarray(48, 96))) return undefined;
  const word = (at: number) => (littleEndianMachine ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const sums = sum(bytes.subarray(0, 40), [0, 0], littleEndianMachine);
  if (word(0) !== 3_007_000 || bytes[12] !== 1 || sums[0] !== word(40) || sums[1] !== word(44)) return undefined;
  return { salts: bytes.subarray(32, 40), frames: word(16), writtenBack: word(96) };
}

/** The index of a WAL is in the byte order of the machine. */
const littleEndianMachine = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** How many pages the log's own file has. */
function mainPages(path: string): number {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(18);
    if (readSync(file, head, 0, head.length, 0) < head.length) return 0;
    const size = head.readUInt16BE(16);
    return Math.floor(fstatSync(file).size / (size === 1 ? 65_536 : size));
  } finally {
    closeSync(file);
  }
}
