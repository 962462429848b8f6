import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { readWal, type WalContent } from './wal-file.js';

// Checksums of the pages of an SQLite file, since SQLite has none of its own. They are taken from what the write-ahead log says, whose
// frames have checksums, before it is copied into the file; that is done here alone. So a page of the file that is not in the log has
// the content of its checksum whenever the process ends, or it was changed by something else.

/** Thrown for a file that is not what was written to it; the message says where. */
export class DamagedFile extends Error {}

/** Bytes of a page; the files of projections have no others. */
const pageSize = 4_096;

/** Frames of the write-ahead log that are not in the file yet when they are copied there. */
const checkpointAfter = 4_000;

/** Pages that are read at once. */
const readAtOnce = 256;

const magic = Buffer.from('MEMOSUM1');

/** Magic, salts and frames of the write-ahead log when it was last copied, and the checksum of these. */
const headerLength = 24;

/** Checksum of a page that nothing is known of, such as one that was never written. */
const unknown = 0;

type Kept = { readonly salts: string; readonly frames: number; readonly sums: Uint32Array; readonly count: number };

/** Path of the file with the checksums of another file. */
export const sumsPath = (path: string) => `${path}-sums`;

/** The checksums that are kept of a file; undefined if there are none that can be read. */
function readSums(path: string): Kept | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(sumsPath(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (bytes.length < headerLength || !bytes.subarray(0, 8).equals(magic)) return undefined;
  if (crc32(bytes.subarray(0, 20)) !== bytes.readUInt32LE(20)) return undefined;
  const count = Math.floor((bytes.length - headerLength) / 4);
  const sums = new Uint32Array(count);
  for (let i = 0; i < count; i++) sums[i] = bytes.readUInt32LE(headerLength + i * 4);
  return { salts: bytes.toString('hex', 8, 16), frames: bytes.readUInt32LE(16), sums, count };
}

/** Whether checksums are kept of a file. */
export function hasSums(path: string): boolean {
  return readSums(path) !== undefined;
}

/**
 * Checks a file that nobody has open, up to a number of bytes.
 * @throws DamagedFile if it is not what was written to it
 */
export function checkFile(path: string, limit: number): void {
  const kept = readSums(path);
  if (!kept) throw new DamagedFile('there are no checksums of it');
  const wal = readWal(path);
  if (kept.salts === wal.salts && wal.frames < kept.frames) {
    throw new DamagedFile(`its write-ahead log ends after ${wal.frames} of at least ${kept.frames} frames`);
  }
  const file = openSync(path, 'r');
  try {
    const pages = Math.min(pagesOf(file, kept, wal.sums), Math.floor(limit / pageSize));
    for (let page = 1; page <= pages; page += readAtOnce) {
      checkPages(file, page, Math.min(readAtOnce, pages - page + 1), kept.sums, wal.sums);
    }
  } finally {
    closeSync(file);
  }
}

/** How many pages a file has. @throws DamagedFile if it is too short or too long */
function pagesOf(file: number, { count, sums }: Pick<Kept, 'count' | 'sums'>, inWal: { has(page: number): boolean }) {
  const { size } = fstatSync(file);
  const pages = Math.floor(size / pageSize);
  for (let page = pages + 1; page <= count; page++) {
    if (!inWal.has(page) && sums[page - 1] !== unknown) throw new DamagedFile(`page ${page} is missing`);
  }
  for (let page = count + 1; page <= pages; page++) {
    if (!inWal.has(page)) throw new DamagedFile(`page ${page} was not written by this program`);
  }
  return pages;
}

const room = Buffer.alloc(readAtOnce * pageSize);

function checkPages(
  file: number,
  first: number,
  count: number,
  sums: Uint32Array,
  except: { has(page: number): boolean },
): void {
  const length = readSync(file, room, 0, count * pageSize, (first - 1) * pageSize);
  for (let i = 0; i < count; i++) {
    const page = first + i;
    const sum = sums[page - 1] ?? unknown;
    if (except.has(page) || sum === unknown) continue;
    const whole = (i + 1) * pageSize <= length;
    if (!whole || crc32(room.subarray(i * pageSize, (i + 1) * pageSize)) !== sum) {
      throw new DamagedFile(`page ${page} is not what was written`);
    }
  }
}

/** The checksums of a file that is open for writing in this thread, and in no other. */
export type PageSums = {
  /** Copies the write-ahead log into the file once it is long enough, or at once. @throws DamagedFile if the log is damaged */
  checkpoint(atOnce?: boolean): void;
  /** Checks so many bytes of the file, or up to its end; then goes on from its beginning. @throws DamagedFile */
  checkNext(bytes: number): void;
  /** Checks the write-ahead log. @throws DamagedFile */
  checkLog(): void;
  close(): void;
};

/**
 * Keeps the checksums of the file at `path`, which `checkFile` has found sound or which was just made. `db` must leave its write-ahead
 * log alone (`wal_autocheckpoint = 0`).
 */
export function keepPageSums(db: Database.Database, path: string): PageSums {
  const main = openSync(path, 'r');
  let { sums, count } = readSums(path) ?? { sums: new Uint32Array(0), count: 0 };
  const fresh = count === 0;
  const file = openSync(sumsPath(path), fresh ? 'w' : 'r+');
  let unsettled: { has(page: number): boolean } = new Set<number>();
  let next = 1;
  if (fresh) {
    const written = new Set<number>();
    for (let page = 1; page <= Math.floor(fstatSync(main).size / pageSize); page++) learn(page, written);
    save('', 0, written);
  }

  /** Sets the checksum of a page, and notes it among those to be saved. */
  function set(page: number, sum: number, changed: Set<number>): void {
    if (page > sums.length) {
      const more = new Uint32Array(Math.max(page, sums.length * 2, 1_024));
      more.set(sums);
      sums = more;
    }
    count = Math.max(count, page);
    sums[page - 1] = sum;
    changed.add(page);
  }

  /** Takes the checksum of a page from the file, where nothing else is known. */
  function learn(page: number, changed: Set<number>): void {
    const length = readSync(main, room, 0, pageSize, (page - 1) * pageSize);
    if (length === pageSize) set(page, crc32(room.subarray(0, pageSize)), changed);
  }

  function save(salts: string, frames: number, changed: ReadonlySet<number>): void {
    // Blocks of 1,024 checksums.
    for (const block of new Set([...changed].map((page) => (page - 1) >> 10))) {
      const [from, to] = [block << 10, Math.min((block + 1) << 10, count)];
      const bytes = Buffer.alloc((to - from) * 4);
      for (let i = from; i < to; i++) bytes.writeUInt32LE(sums[i] as number, (i - from) * 4);
      writeSync(file, bytes, 0, bytes.length, headerLength + from * 4);
    }
    const header = Buffer.alloc(headerLength);
    magic.copy(header);
    header.write(salts, 8, 'hex');
    header.writeUInt32LE(frames, 16);
    header.writeUInt32LE(crc32(header.subarray(0, 20)), 20);
    writeSync(file, header, 0, headerLength, 0);
    fsyncSync(file);
  }

  const progress = (mode: 'NOOP' | 'PASSIVE') => {
    const [found] = db.pragma(`wal_checkpoint(${mode})`) as { readonly log: number; readonly checkpointed: number }[];
    return found ?? { log: 0, checkpointed: 0 };
  };

  function soundLog(log: number): WalContent {
    const wal = readWal(path);
    if (wal.frames >= log) return wal;
    throw new DamagedFile(`its write-ahead log can be read up to frame ${wal.frames} of ${log} only`);
  }

  return {
    checkpoint(atOnce = false) {
      const { log, checkpointed } = progress('NOOP');
      if (log <= checkpointed || (!atOnce && log - checkpointed < checkpointAfter)) return;
      const wal = soundLog(log);
      const changed = new Set<number>();
      for (const [page, sum] of wal.sums) set(page, sum, changed);
      for (let page = 1; page <= wal.pages; page++) if (page > count) set(page, unknown, changed);
      save(wal.salts, wal.frames, changed);
      const done = progress('PASSIVE');
      // Where a reader keeps an older state, pages of the file may have the content of any frame, and are read from the log.
      unsettled = done.checkpointed < done.log ? wal.sums : new Set<number>();
    },
    checkNext(bytes) {
      const pages = pagesOf(main, { count, sums }, unsettled);
      const last = Math.min(pages, next - 1 + Math.ceil(bytes / pageSize));
      for (; next <= last; next += readAtOnce) {
        checkPages(main, next, Math.min(readAtOnce, last - next + 1), sums, unsettled);
      }
      next = last >= pages ? 1 : last + 1;
    },
    checkLog: () => void soundLog(progress('NOOP').log),
    close() {
      closeSync(file);
      closeSync(main);
    },
  };
}

/** Forgets the checksums of a file that is made anew. */
export function removeSums(path: string): void {
  rmSync(sumsPath(path), { force: true });
}
