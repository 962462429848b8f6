import type { HashAlgorithm } from '../hash.js';
import { readChunkTable } from './chunks.js';
import { type IdTable, openIdTable } from './id-table.js';
import { type PageCache, readPagedFile } from './paged-file.js';

/** One index over many packs. */
export type MultiPackIndex = {
  readonly ids: IdTable;
  /** File names of the packs' indexes, such as `pack-….idx`. */
  readonly packs: readonly string[];
  /** Where the object at a place of `ids` is: number of the pack in `packs`, and offset in it. */
  location(place: number): { readonly pack: number; readonly offset: number };
  close(): void;
};

const isLarge = 0x80000000;

/**
 * Opens a multi-pack index of version 1 (gitformat-pack(5)).
 * @param fail - makes the error to throw for a malformed or truncated file
 */
export function openMultiPackIndex(
  path: string,
  hash: HashAlgorithm,
  cache: PageCache,
  fail: (what: string) => Error,
): MultiPackIndex {
  return readPagedFile(path, cache, (file) => {
    const header = file.read(0, 12);
    if (header.length < 12 || header.toString('latin1', 0, 4) !== 'MIDX') throw fail('it is not a multi-pack index');
    if (header[4] !== 1) throw fail(`it has version ${header[4]}`);
    if (header[5] !== (hash.name === 'sha1' ? 1 : 2)) throw fail('it is of another object format');
    if (header[7] !== 0) throw fail('it builds on another multi-pack index');
    const chunks = readChunkTable(file, 12, header[6] ?? 0, fail);
    const [names, fanout, idChunk, offsets] = ['PNAM', 'OIDF', 'OIDL', 'OOFF'].map((name) => chunks.get(name));
    if (!names || !fanout || !idChunk || !offsets) throw fail('a chunk is missing');
    const large = chunks.get('LOFF');
    const ids = openIdTable(file, hash, { fanoutAt: fanout.start, idsAt: idChunk.start }, fail);
    if (idChunk.length < ids.count * hash.bytes || offsets.length < ids.count * 8) throw fail('a chunk is too short');
    const packs = file.read(names.start, names.length).toString('utf8').split('\0').filter(Boolean);
    if (packs.length !== header.readUInt32BE(8)) throw fail('it names another number of packs than it says');
    return {
      ids,
      packs,
      location(place) {
        const entry = file.read(offsets.start + place * 8, 8);
        const pack = entry.readUInt32BE(0);
        const small = entry.readUInt32BE(4);
        if (pack >= packs.length) throw fail(`it has no pack ${pack}`);
        if (small < isLarge || !large) return { pack, offset: small };
        const position = (small - isLarge) * 8;
        if (position + 8 > large.length) throw fail('an offset is outside of its table');
        return { pack, offset: Number(file.read(large.start + position, 8).readBigUInt64BE(0)) };
      },
      close: () => file.close(),
    };
  });
}
