import type { HashAlgorithm } from '../hash.js';
import { checkedIdInPieces } from '../objects/checked-id.js';
import type { ObjectType } from '../objects/object.js';
import {
  type EntryHeader,
  idDelta,
  isPackHeader,
  kinds,
  longestEntryHeader,
  offsetDelta,
  packHeaderBytes,
  readEntryHeader,
} from '../objects/pack-entry.js';
import type { PackFile } from './pack-file.js';
import type { PackBudget } from './pack-limits.js';
import { none, type PackTable } from './pack-table.js';

/** What is done with the objects of a pack as they come to light. */
export type Taker = {
  /** An object in memory that is good until it returns; its row gets its id. */
  take(row: number, type: ObjectType, data: Buffer): void;
  /** A blob that was too large for that; its id is there. `again` gives its content once more. */
  takeLarge(
    row: number,
    type: ObjectType,
    size: number,
    again: (take: (piece: Buffer) => void) => Promise<unknown>,
  ): Promise<void>;
};

/** Whole objects above this size are inflated piece by piece. */
const inMemory = 16 * 1024 * 1024;

/** Least bytes of an entry: a byte of header, and the least that deflate makes. */
const shortestEntry = 9;

/** So often it is told how far it is, in objects. */
const toldEvery = 4_096;

/**
 * Goes through a pack once and fills a table with its entries (gitformat-pack(5)). Whole objects are taken; deltas are inflated only to
 * find where they end.
 * @throws Error saying what is malformed, or which limit is passed
 */
export async function scanPack(
  file: PackFile,
  table: PackTable,
  hash: HashAlgorithm,
  budget: PackBudget,
  { take, takeLarge }: Taker,
  told: (done: number, all: number) => void,
): Promise<void> {
  const { limits } = budget;
  const header = file.read(0, packHeaderBytes);
  if (!isPackHeader(header)) throw new Error('its pack is malformed: it is not a pack of version 2 or 3');
  const objects = header.readUInt32BE(8);
  if (objects > limits.objects) throw new Error(`its pack has more than ${limits.objects} objects`);
  if (objects * shortestEntry > file.end() - packHeaderBytes)
    throw new Error(`its pack is malformed: it says that it has ${objects} objects in ${file.end()} bytes`);
  let at = packHeaderBytes;
  for (let done = 0; done < objects; done++) {
    if (done % toldEvery === 0) told(done, objects);
    const { kind, size, head, base } = entryAt(file, at, hash.bytes);
    const isDelta = kind === offsetDelta || kind === idDelta;
    if (size > (isDelta ? limits.deltaBytes : limits.objectBytes))
      throw new Error(`its pack has an object of ${size} bytes, which is too large`);
    const row = table.add(at, kind, size, head);
    if (typeof base === 'number') {
      const found = table.rowAt(base);
      if (found === none) throw new Error(`its pack is malformed: the object at ${at} has no base at ${base}`);
      table.addChild(found, row);
    } else if (base) table.addBaseId(base, row);
    budget.spend(size);
    let length: number;
    const type = kinds[kind];
    if (type && size > inMemory && type === 'blob') {
      const start = at + head;
      const id = checkedIdInPieces(hash, type, size);
      length = await file.inflateInPieces(start, size, id.add);
      table.ids.set(id.id(), row * hash.bytes);
      await takeLarge(row, type, size, (piece) => file.inflateInPieces(start, size, piece));
    } else {
      const inflated = file.inflateBriefly(at + head, size);
      length = inflated.length;
      if (type) take(row, type, inflated.data);
    }
    table.crc[row] = file.crc(at, head + length);
    at += head + length;
  }
  if (at !== file.end()) throw new Error(`its pack is malformed: ${file.end() - at} bytes follow its last object`);
  told(objects, objects);
}

/** The header of the entry at an offset, with the offset of a base that is named by one. @throws Error if it is malformed */
export function entryAt(file: PackFile, offset: number, idBytes: number): EntryHeader {
  const malformed = (what: string) => new Error(`its pack is malformed: ${what}`);
  const bytes = file.read(offset, longestEntryHeader);
  const entry = readEntryHeader(bytes, idBytes, () => malformed(`it ends within the object at ${offset}`));
  const { kind, size, base } = entry;
  if (size > Number.MAX_SAFE_INTEGER) throw malformed(`the object at ${offset} has no size`);
  if (base === undefined && !kinds[kind]) throw malformed(`the object at ${offset} is of the kind ${kind}`);
  return typeof base === 'number' ? { ...entry, base: offset - base } : entry;
}
