import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { LRUCache } from 'lru-cache';

/** Pages of 8 KiB: what is asked for is most often small and far apart, and a history is imported no slower than by larger ones. */
const pageBits = 13;
const pageSize = 1 << pageBits;
/** Beyond this, bit operations lose bits. */
const largestInteger = 2 ** 31 - 1;

/** Pages of files that are too large to be kept in memory; the least recently read ones make room. */
export type PageCache = { get(key: number): Buffer | undefined; set(key: number, page: Buffer): unknown };

/** A cache of pages that together take at most the given number of bytes. */
export function createPageCache(bytes: number): PageCache {
  return new LRUCache<number, Buffer>({ max: Math.max(1, bytes >>> pageBits) });
}

/** A file that is read piece by piece, at positions. */
export type PagedFile = {
  /** Bytes of the file when it was opened. */
  readonly size: number;
  /**
   * Bytes from a position on; not to be written to. Fewer than asked for only where the file ends.
   */
  read(position: number, length: number): Buffer;
  /**
   * The page that a position is in, where `withinPage` tells, if it is kept, or beside the one that was asked for last; not to be written to. Undefined
   * of any other, so that looks here and there neither cost a page each nor take the room of those that are needed again.
   */
  nearPage(position: number): Buffer | undefined;
  /** Reads from a position on into memory of the caller, past the pages. Gives how many bytes there were. */
  readInto(bytes: Buffer, position: number): number;
  /** The big-endian number of four bytes at a position; -1 beyond the end. */
  uint32(position: number): number;
  /** Negative, zero or positive as what begins at a position is below, begins with, or is above the bytes; what the file lacks is below. */
  compare(position: number, bytes: Uint8Array): number;
  close(): void;
};

/** What is longer is read at once, past the pages, which it would take from others. */
const largestOfPages = 16 * pageSize;

/** Where in its page a position of a file is. */
export function withinPage(position: number): number {
  return position > largestInteger ? position % pageSize : position & (pageSize - 1);
}

let opened = 0;

/** What `read` makes of a file, which stays open for it; if it throws, the file is closed. @throws as `openPagedFile`, and what `read` throws */
export function readPagedFile<T>(path: string, cache: PageCache, read: (file: PagedFile) => T): T {
  const file = openPagedFile(path, cache);
  try {
    return read(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Opens a file for reading. Throws what the system says if that is not possible. */
export function openPagedFile(path: string, cache: PageCache): PagedFile {
  const file = openSync(path, 'r');
  const { size } = fstatSync(file);
  const firstKey = ++opened * 2 ** 28;
  let closed = false;
  let recent: Buffer = Buffer.alloc(0);
  let recentNumber = -1;
  let nearNumber = Number.NaN;

  function page(number: number): Buffer {
    if (number === recentNumber) return recent;
    let found = cache.get(firstKey + number);
    if (!found) {
      const start = number * pageSize;
      const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(pageSize, size - start)));
      found = bytes.subarray(0, fill(bytes, start));
      cache.set(firstKey + number, found);
    }
    recent = found;
    recentNumber = number;
    return found;
  }

  function fill(bytes: Buffer, start: number): number {
    if (closed) throw new Error(`${path} is closed`);
    let at = 0;
    while (at < bytes.length) {
      const got = readSync(file, bytes, at, bytes.length - at, start + at);
      if (got === 0) break;
      at += got;
    }
    return at;
  }

  function read(position: number, length: number): Buffer {
    const first = Math.floor(position / pageSize);
    const within = position - first * pageSize;
    if (within + length <= pageSize) return page(first).subarray(within, within + length);
    const out = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - position)));
    if (out.length > largestOfPages) return out.subarray(0, fill(out, position));
    let at = 0;
    for (let number = first; at < out.length; number++) {
      const from = number === first ? within : 0;
      const got = page(number).copy(out, at, from);
      at += got;
      if (got === 0) break;
    }
    return out.subarray(0, at);
  }

  return {
    size,
    read,
    nearPage(position) {
      const number = Math.floor(position / pageSize);
      const isNear = Math.abs(number - nearNumber) <= 1;
      nearNumber = number;
      return isNear ? page(number) : cache.get(firstKey + number);
    },
    readInto: fill,
    uint32(position) {
      const within = position & (pageSize - 1);
      if (position > largestInteger || within + 4 > pageSize) {
        const bytes = read(position, 4);
        return bytes.length < 4 ? -1 : bytes.readUInt32BE(0);
      }
      const bytes = page(position >>> pageBits);
      return within + 4 > bytes.length ? -1 : bytes.readUInt32BE(within);
    },
    compare(position, bytes) {
      const first = Math.floor(position / pageSize);
      const within = position - first * pageSize;
      if (within + bytes.length > pageSize) return Buffer.compare(read(position, bytes.length), bytes);
      const found = page(first);
      for (let i = 0; i < bytes.length; i++) {
        const difference = (found[within + i] ?? -1) - (bytes[i] as number);
        if (difference !== 0) return difference;
      }
      return 0;
    },
    close() {
      if (!closed) closeSync(file);
      closed = true;
    },
  };
}
