import { inflateSync } from 'node:zlib';
import { applyDelta } from './delta.js';
import { inflateInto, inflateSmall } from './inflate-small.js';
import { type GitObject, largestObject, ObjectTooLarge, type ObjectType } from './object.js';
import { commitKind, isPackHeader, kinds, packHeaderBytes, readEntryHeader, tagKind } from './pack-entry.js';
import { type PageCache, readPagedFile, withinPage } from './paged-file.js';
import { recentObjects } from './recent-objects.js';

/** One pack file, read at positions. */
export type Pack = {
  /** Kind of the object at an offset, found by the headers of its delta chain alone. */
  typeAt(offset: number): ObjectType;
  /** The object at an offset. */
  readAt(offset: number): GitObject;
  /**
   * The commit or tag at an offset, whose content the next call overwrites; undefined where `readAt` is to be asked, for anything but one that
   * is there as such, as nearly all are, and small. Histories have very many, and most of the time would go into memory for each.
   */
  fleetingAt(offset: number): GitObject | undefined;
  close(): void;
};

/** What a pack needs from the objects around it: bases of deltas that name them by id. */
export type PackSurroundings = {
  /** Offset in the same pack of an object. */
  offsetOf(id: Buffer): number | undefined;
  /** An object from anywhere. */
  read(id: Buffer): GitObject | undefined;
  typeOf(id: Buffer): ObjectType | undefined;
};

type Entry = {
  readonly kind: number;
  /** Bytes of the inflated content. */
  readonly size: number;
  readonly dataAt: number;
  /** What was read for it: the header, and what follows. */
  readonly bytes: Buffer;
  readonly head: number;
  /** Offset of the base in this pack, or the id of a base elsewhere. */
  readonly base: number | Buffer | undefined;
};

/** git makes chains of at most 4,095; a longer one is a loop. */
const longestChain = 10_000;
/** So many bytes are read where an object begins: most small ones are in that as a whole. */
const firstRead = 384;
/** Up to here an object is inflated by what is made for small ones. */
const smallObject = 16 * 1024;

/** Where commits and tags are read and inflated that are looked at once. */
const glimpse = Buffer.allocUnsafeSlow(1024);
const fleeting = Buffer.allocUnsafeSlow(smallObject + 1);

/**
 * Opens a pack of version 2 or 3 (gitformat-pack(5)).
 * @param fail - makes the error to throw for a malformed or truncated file
 * @param largest - most bytes of an object
 */
export function openPack(
  path: string,
  hashBytes: number,
  cache: PageCache,
  around: PackSurroundings,
  fail: (what: string, cause?: unknown) => Error,
  largest = largestObject,
): Pack {
  const file = readPagedFile(path, cache, (opened) => {
    if (!isPackHeader(opened.read(0, packHeaderBytes))) throw fail('it is not a pack of version 2 or 3');
    return opened;
  });
  const end = file.size - hashBytes;
  const recent = recentObjects();

  function entryAt(offset: number): Entry {
    if (offset < packHeaderBytes || offset >= end) throw fail(`no object can begin at ${offset} of ${file.size} bytes`);
    const bytes = file.read(offset, Math.min(firstRead, end - offset));
    const ended = () => fail(`it ends within the object at ${offset}`);
    const { kind, size, head, base } = readEntryHeader(bytes, hashBytes, ended);
    let from: Entry['base'];
    if (typeof base === 'number') {
      if (base === 0 || base > offset) throw fail(`the object at ${offset} has a base before the pack`);
      from = offset - base;
    } else if (base) {
      const id = Buffer.from(base);
      from = around.offsetOf(id) ?? id;
    } else if (!kinds[kind]) throw fail(`the object at ${offset} is of the unknown kind ${kind}`);
    return { kind, size, dataAt: offset + head, bytes, head, base: from };
  }

  function inflate({ size, dataAt, bytes, head }: Entry, offset: number): Buffer {
    if (size > largest) throw fail(`the object at ${offset} has ${size} bytes`, new ObjectTooLarge(size));
    // zlib's own bound for what it makes of so many bytes, and some more for other deflaters; then all that is left.
    const bound = size + (size >>> 8) + 64;
    if (head + bound <= firstRead) {
      const small = inflateSmall(bytes, size, head);
      if (small) return small;
    }
    for (const length of [bound, end - dataAt]) {
      const input = file.read(dataAt, Math.min(length, end - dataAt));
      const small = size <= smallObject ? inflateSmall(input, size) : undefined;
      if (small) return small;
      try {
        const data = inflateSync(input, { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, size + 1) });
        if (data.length === size) return data;
      } catch (error) {
        const ranOut = error instanceof Error && 'code' in error && error.code === 'Z_BUF_ERROR';
        if (!ranOut || length >= end - dataAt || end - dataAt > 2 * largestObject) {
          throw fail(`the object at ${offset} cannot be inflated: ${String(error)}`);
        }
        continue;
      }
      break;
    }
    throw fail(`the object at ${offset} is not of the ${size} bytes that it says`);
  }

  function walk(offset: number, visit: (entry: Entry, offset: number) => void): Entry {
    let at = offset;
    for (let depth = 0; depth < longestChain; depth++) {
      const entry = entryAt(at);
      visit(entry, at);
      if (typeof entry.base !== 'number') return entry;
      at = entry.base;
    }
    throw fail(`the object at ${offset} is a delta without end`);
  }

  function keep(offset: number, object: GitObject): GitObject {
    recent.put(offset, object);
    return object;
  }

  const missingBase = (offset: number, base: Buffer) =>
    fail(`the object at ${offset} is a delta against ${base.toString('hex')}, which is missing`);

  return {
    typeAt(offset) {
      const { kind, base } = walk(offset, () => undefined);
      const type = base instanceof Buffer ? around.typeOf(base) : kinds[kind];
      if (!type) throw base instanceof Buffer ? missingBase(offset, base) : fail(`no kind at ${offset}`);
      return type;
    },
    readAt(offset) {
      const deltas: { readonly at: number; readonly data: Buffer }[] = [];
      let kept = 0;
      let found: GitObject | undefined;
      for (let at = offset; !found; ) {
        found = recent.get(at);
        if (found) break;
        if (deltas.length === longestChain) throw fail(`the object at ${offset} is a delta without end`);
        const entry = entryAt(at);
        const { kind, base } = entry;
        const data = inflate(entry, at);
        kept += data.length;
        if (kept > 2 * largest) throw fail(`the object at ${offset} needs more than ${2 * largest} bytes`);
        const type = kinds[kind];
        // Hardly any commit is the base of another, and walks through histories read very many.
        if (type) found = type === 'commit' ? { type, data } : keep(at, { type, data });
        else if (typeof base === 'number') {
          deltas.push({ at, data });
          at = base;
        } else {
          deltas.push({ at, data });
          found = base && around.read(base);
          if (!found) throw base ? missingBase(offset, base) : fail(`no object at ${offset}`);
        }
      }
      for (const { at, data } of deltas.reverse())
        found = keep(at, { type: found.type, data: applyDelta(found.data, data, largest, fail) });
      return found;
    },
    fleetingAt(offset) {
      if (offset < packHeaderBytes || offset >= end) return undefined;
      const page = file.nearPage(offset);
      const bytes = page ?? glimpse.subarray(0, file.readInto(glimpse, offset));
      let at = page ? withinPage(offset) : 0;
      let byte = bytes[at++] ?? 0;
      const kind = (byte >> 4) & 7;
      if (kind !== commitKind && kind !== tagKind) return undefined;
      let size = byte & 15;
      for (let scale = 16; byte & 0x80; scale *= 128) {
        byte = bytes[at++] ?? 0;
        size += (byte & 0x7f) * scale;
      }
      if (size > smallObject || at >= bytes.length) return undefined;
      if (inflateInto(bytes, fleeting, size, at) === undefined) return undefined;
      return { type: kind === commitKind ? 'commit' : 'tag', data: fleeting.subarray(0, size) };
    },
    close: () => file.close(),
  };
}
