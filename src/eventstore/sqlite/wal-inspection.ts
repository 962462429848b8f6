import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { openWal, type Wal, walSum } from './wal.js';

/** What a WAL and the index beside it say of writes that the log had. */
export type WalFindings = {
  /** What proves that committed writes will be gone once SQLite has opened the log; lines of text, none where nothing does. */
  readonly losses: readonly string[];
  /** True if the WAL was written beside another file, so that SQLite would make of the two what never was. */
  readonly foreign: boolean;
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
    wal.close();
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

type WalIndex = {
  readonly salts: Buffer;
  /** Frames up to the last one of the last commit. */
  readonly frames: number;
  /** How many of them were written back to the log itself. */
  readonly writtenBack: number;
};

/**
 * What the index of a WAL (https://www.sqlite.org/walformat.html) tells, which a process that was killed leaves behind; undefined if it is
 * none that can be believed.
 */
function readIndex(path: string): WalIndex | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  if (bytes.length < 136 || !bytes.subarray(0, 48).equals(bytes.subarray(48, 96))) return undefined;
  // It is in the byte order of the machine.
  const words = new Uint32Array(new Uint8Array(bytes.subarray(0, 136)).buffer);
  const word = (at: number) => words[at / 4] as number;
  const [one, other] = walSum(bytes.subarray(0, 40), [0, 0]);
  if (word(0) !== 3_007_000 || bytes[12] !== 1 || one !== word(40) || other !== word(44)) return undefined;
  return { salts: bytes.subarray(32, 40), frames: word(16), writtenBack: word(96) };
}

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
