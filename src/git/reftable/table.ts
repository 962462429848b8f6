import { crc32 } from 'node:zlib';
import type { HashAlgorithm } from '../hash.js';
import { type PageCache, type PagedFile, readPagedFile } from '../objects/paged-file.js';
import {
  type Block,
  type Extent,
  type Fail,
  indexBlock,
  kindOfBlock,
  type Records,
  readBlock,
  refBlock,
} from './block.js';

/** What a table says of a ref: the object that it names, the ref that it stands for, or that it is deleted. */
export type RefRecord = { readonly id: string } | { readonly target: string } | { readonly deleted: true };

/** One file of refs. It is never written to. */
export type Table = {
  /** What the table says of a full ref name; undefined if it says nothing. */
  get(name: string): RefRecord | undefined;
  /** Everything it says, in the order of names by their bytes. */
  entries(): Iterable<{ readonly name: string; readonly record: RefRecord }>;
  close(): void;
};

const magic = 'REFT';

/** Bytes of the header by version; the footer repeats it, with five positions of eight bytes and a checksum of four. */
const headers: Readonly<Record<number, number>> = { 1: 24, 2: 28 };
const footerMore = 5 * 8 + 4;

/** More levels of an index than any file can have. */
const deepestIndex = 32;

const hashIds = { sha1: 'sha1', sha256: 's256' } as const;

/**
 * Opens a reftable, version 1 or 2, by git's technical documentation "reftable". Its checksum, that of the footer, is looked at; blocks have none.
 * @param cache - what holds the pages that are read
 * @param fail - makes the error to throw for what is no reftable
 * @throws what the system says if it cannot be read
 */
export function openTable(path: string, hash: HashAlgorithm, cache: PageCache, fail: Fail): Table {
  return readPagedFile(path, cache, (file) => tableOf(file, hash, fail));
}

function tableOf(file: PagedFile, hash: HashAlgorithm, fail: Fail): Table {
  const { extent, indexAt } = readEnds(file, hash, fail);

  /** What follows the key of a ref: the number of its change, less the table's first, and what it is. */
  function value(records: Records, type: number): RefRecord {
    records.varint();
    if (type === 0) return { deleted: true };
    if (type === 3) return { target: records.bytes(records.varint()).toString() };
    if (type !== 1 && type !== 2) throw fail(`a ref has a value of type ${type}`);
    const id = records.bytes(hash.bytes).toString('hex');
    // What the tag in it points to.
    if (type === 2) records.bytes(hash.bytes);
    return { id };
  }

  /** The first record of a block that is not before a key; undefined if all are. */
  function firstFrom(block: Block, key: Buffer): { readonly found: Buffer; readonly record: RefRecord } | undefined {
    const records = block.records(key);
    for (let entry = records.next(); entry; entry = records.next()) {
      const record = value(records, entry.type);
      if (Buffer.compare(entry.key, key) >= 0) return { found: entry.key, record };
    }
    return undefined;
  }

  /** Where a block of an index leads for a key: to the first block that does not end before it. */
  function childFor(block: Block, key: Buffer): number | undefined {
    const records = block.records(key);
    for (let entry = records.next(); entry; entry = records.next()) {
      const position = records.varint();
      if (Buffer.compare(entry.key, key) >= 0) return position;
    }
    return undefined;
  }

  function byIndex(key: Buffer): RefRecord | undefined {
    let position = indexAt;
    for (let depth = 0; depth < deepestIndex; depth++) {
      const block = readBlock(file, position, extent, fail);
      if (block.kind === refBlock) {
        const first = firstFrom(block, key);
        return first?.found.equals(key) ? first.record : undefined;
      }
      if (block.kind !== indexBlock) throw fail(`the index leads to a block of kind ${block.kind}`);
      const child = childFor(block, key);
      if (child === undefined) return undefined;
      // Every block of the index stands behind those that it leads to.
      if (child >= position) throw fail(`the index at byte ${position} leads to byte ${child}`);
      position = child;
    }
    throw fail('the index is too deep');
  }

  /** The blocks of refs, which come first. */
  function* refBlocks(): Generator<Block> {
    // A table without refs may have nothing else either, or begin with its log.
    for (let at = 0; (at === 0 ? extent.header : at) < extent.end; ) {
      // The length of a block of a log is that of what is compressed in it.
      if (kindOfBlock(file, at, extent) !== refBlock) return;
      const block = readBlock(file, at, extent, fail);
      yield block;
      at = block.next;
    }
  }

  function inTurn(key: Buffer): RefRecord | undefined {
    for (const block of refBlocks()) {
      const first = firstFrom(block, key);
      if (first) return first.found.equals(key) ? first.record : undefined;
    }
    return undefined;
  }

  return {
    get(name) {
      const key = Buffer.from(name);
      return indexAt > 0 ? byIndex(key) : inTurn(key);
    },
    *entries() {
      for (const block of refBlocks()) {
        const records = block.records();
        for (let entry = records.next(); entry; entry = records.next()) {
          yield { name: entry.key.toString(), record: value(records, entry.type) };
        }
      }
    },
    close: () => file.close(),
  };
}

/** Reads the header and the footer, which repeats it and says where what is. */
function readEnds(file: PagedFile, hash: HashAlgorithm, fail: Fail): { extent: Extent; indexAt: number } {
  const start = file.read(0, 8);
  const version = start[4] as number;
  const header = headers[version];
  if (start.length < 8 || start.toString('latin1', 0, 4) !== magic) throw fail('it does not begin as a reftable');
  if (header === undefined) throw fail(`it is of version ${version}`);
  const end = file.size - header - footerMore;
  if (end < header) throw fail(`it ends after ${file.size} bytes`);
  const head = file.read(0, header);
  const footer = file.read(end, header + footerMore);
  if (!footer.subarray(0, header).equals(head)) throw fail('it does not end with its header');
  const sum = footer.readUInt32BE(footer.length - 4);
  if (crc32(footer.subarray(0, -4)) !== sum) throw fail('the checksum of its end is wrong');
  const named = version === 1 ? 'sha1' : head.toString('latin1', 24, 28);
  if (named !== hashIds[hash.name]) throw fail(`its objects are named by ${named}`);
  const indexAt = Number(footer.readBigUInt64BE(header));
  if (indexAt >= end) throw fail(`its index is at byte ${indexAt}`);
  return { extent: { header, blockSize: head.readUIntBE(5, 3), end }, indexAt };
}
