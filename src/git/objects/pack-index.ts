import type { HashAlgorithm } from '../hash.js';
import { type IdTable, openIdTable } from './id-table.js';
import { type PageCache, type PagedFile, readPagedFile } from './paged-file.js';

/** The index of one pack: where in the pack each object begins. */
export type PackIndex = {
  readonly ids: IdTable;
  /** Offset in the pack of the object at a place of `ids`. */
  offset(place: number): number;
  close(): void;
};

const signature = 0xff744f63;
const headerBytes = 8;
const fanoutBytes = 1024;
const isLarge = 0x80000000;

/**
 * Opens a pack index of version 2, or of version 1 as git wrote it before 2007 (gitformat-pack(5)).
 * @param fail - makes the error to throw for a malformed or truncated file
 */
export function openPackIndex(
  path: string,
  hash: HashAlgorithm,
  cache: PageCache,
  fail: (what: string) => Error,
): PackIndex {
  return readPagedFile(path, cache, (file) => {
    const header = file.read(0, headerBytes);
    if (header.length < headerBytes) throw fail('it is truncated');
    if (header.readUInt32BE(0) !== signature) return readFirstVersion(file, hash, fail);
    if (header.readUInt32BE(4) !== 2) throw fail(`it has version ${header.readUInt32BE(4)}`);
    return readSecondVersion(file, hash, fail);
  });
}

/** A fan-out table, then offset and id of each object, and nothing that says what it is: its size has to. */
function readFirstVersion(file: PagedFile, hash: HashAlgorithm, fail: (what: string) => Error): PackIndex {
  const stride = 4 + hash.bytes;
  const ids = openIdTable(file, hash, { fanoutAt: 0, idsAt: fanoutBytes + 4, stride }, fail);
  if (file.size !== fanoutBytes + ids.count * stride + 2 * hash.bytes) {
    throw fail('it is neither an index of version 2, nor as long as one of version 1 is');
  }
  return { ids, offset: (place) => file.uint32(fanoutBytes + place * stride), close: () => file.close() };
}

function readSecondVersion(file: PagedFile, hash: HashAlgorithm, fail: (what: string) => Error): PackIndex {
  const idsAt = headerBytes + fanoutBytes;
  const ids = openIdTable(file, hash, { fanoutAt: headerBytes, idsAt }, fail);
  const offsetsAt = idsAt + ids.count * (hash.bytes + 4);
  const largeAt = offsetsAt + ids.count * 4;
  const end = file.size - 2 * hash.bytes;
  if (largeAt > end) throw fail('it is truncated');
  return {
    ids,
    offset(place) {
      const small = file.uint32(offsetsAt + place * 4);
      if (small < isLarge) return small;
      const position = largeAt + (small - isLarge) * 8;
      if (position + 8 > end) throw fail('an offset is outside of its table');
      return Number(file.read(position, 8).readBigUInt64BE(0));
    },
    close: () => file.close(),
  };
}
