import { createHash } from 'node:crypto';
import { fstatSync, readSync, writeSync } from 'node:fs';
import { crc32, deflateSync } from 'node:zlib';
import { sortIds } from '../graph/sort-ids.js';
import type { HashAlgorithm } from '../hash.js';
import { checkedId } from '../objects/checked-id.js';
import type { ObjectType } from '../objects/object.js';
import { kinds, packHeaderBytes } from '../objects/pack-entry.js';
import { entryHeader } from './entry-header.js';
import type { KnownObjects } from './known-objects.js';
import { packFile } from './pack-file.js';
import { type PackLimits, packBudget } from './pack-limits.js';
import { PackTable } from './pack-table.js';
import { packTaker } from './pack-taker.js';
import { helpingThreads, noHelp, worthwhileHelpers } from './resolve-in-threads.js';
import { resolvedPlace, resolveShare, sharedWork } from './resolve-share.js';
import { scanPack } from './scan-pack.js';

/** A pack that was gone through. */
export type IndexedPack = {
  readonly table: PackTable;
  /** Rows in the order of their ids. */
  readonly sorted: Uint32Array;
  /** The checksum with which the pack ends, now. */
  readonly checksum: Buffer;
};

/** What a pack is gone through with. */
export type IndexOptions = {
  readonly hash: HashAlgorithm;
  readonly known: KnownObjects;
  /** Commits whose parents need not be there, in hexadecimal digits. */
  readonly shallow: ReadonlySet<string>;
  readonly limits: PackLimits;
  readonly monotonic: () => number;
  /** Names objects; `checkedId` unless given. */
  readonly idOf?: typeof checkedId;
  /** How many threads help with a pack of so many bytes, where `known` can be opened by others; as many as are worth it unless given. */
  readonly helpers?: (bytes: number) => number;
  /** Told what is done of what: entries that were found, then deltas that were resolved. */
  readonly progress?: (step: 'objects' | 'deltas', done: number, all: number) => void;
};

const pieceBytes = 1024 * 1024;

/**
 * Goes through a pack that came from elsewhere, in memory that depends on the number of its objects and the largest of them alone, as
 * `git index-pack --fix-thin --strict` does: every object is put together and gets its id, and whatever it names must be in the pack
 * or known. Bases of deltas that are known and not in the pack are appended to it.
 * @param file - open for reading and writing
 * @throws Error saying what is malformed, missing or another object of the same id, or which limit is passed; the file is good for nothing then
 */
export async function indexPack(
  file: number,
  {
    hash,
    known,
    shallow,
    limits,
    monotonic,
    idOf = checkedId,
    helpers = worthwhileHelpers,
    progress = () => undefined,
  }: IndexOptions,
): Promise<IndexedPack> {
  const { size } = fstatSync(file);
  const end = size - hash.bytes;
  if (end < packHeaderBytes) throw new Error('its pack is malformed: it is too short');
  let checksum = digestOf(file, end, hash);
  if (!checksum.equals(bytesAt(file, end, hash.bytes)))
    throw new Error('its pack is malformed: it has another checksum');
  const pack = packFile(file, end);
  const table = new PackTable(hash.bytes);
  const claimed = bytesAt(file, 8, 4).readUInt32BE();
  const shared = sharedWork(idOf === checkedId && known.directory !== undefined ? helpers(end) : 0);
  const budget = packBudget(limits, monotonic, shared.spent);
  const taker = packTaker(table, { hash, known, shallow, idOf, most: claimed });

  await scanPack(pack, table, hash, budget, taker, (done, all) => progress('objects', done, all));
  const arrived = table.count;
  const deltas = table.kind.subarray(0, arrived).reduce((sum, kind) => sum + (kinds[kind] ? 0 : 1), 0);
  const told = () => progress('deltas', Atomics.load(shared.counts, resolvedPlace), deltas);
  const work = { file, end, hash, shallow, limits, most: claimed };
  const others = deltas > 0 ? helpingThreads(work, table, shared, known.directory) : noHelp;
  try {
    const resolver = resolveShare(pack, table, budget, taker, shared, told);
    await others.resolved();
    let left = unresolved(table);
    if (left > 0) {
      for (const id of resolver.missing()) {
        const base = known.read(id);
        if (base) resolver.from(append(id, base.type, base.data));
      }
      left = unresolved(table);
      if (left > 0) throw new Error(`its pack is malformed: ${left} deltas have no base that is there`);
      checksum = finishPack(file, pack.end(), table, hash);
    }
    progress('deltas', deltas, deltas);
    const sorted = sortIds(table.ids, table.count, hash.bytes);
    refuseTwice(table, sorted);
    const checked = others.checkLinks(table, sorted);
    taker.checkLinks(sorted);
    await checked;
    return { table, sorted, checksum };
  } finally {
    await others.end();
  }

  /** Adds an object that the pack lacks to it. */
  function append(id: Buffer, type: ObjectType, data: Buffer): number {
    const header = entryHeader(kinds.indexOf(type), data.length);
    const deflated = deflateSync(data);
    const offset = pack.end();
    const row = table.add(offset, kinds.indexOf(type), data.length, header.length);
    table.ids.set(id, row * hash.bytes);
    table.crc[row] = crc32(deflated, crc32(header));
    write(file, header, offset);
    write(file, deflated, offset + header.length);
    pack.extend(offset + header.length + deflated.length);
    return row;
  }
}

/** How many deltas of a table have no content yet. */
function unresolved({ type, count }: PackTable): number {
  let left = 0;
  for (let row = 0; row < count; row++) if (type[row] === 0) left++;
  return left;
}

function refuseTwice(table: PackTable, sorted: Uint32Array): void {
  for (let i = 1; i < sorted.length; i++) {
    const id = table.id(sorted[i] as number);
    if (id.equals(table.id(sorted[i - 1] as number)))
      throw new Error(`its pack is malformed: object ${id.toString('hex')} comes twice`);
  }
}

function bytesAt(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, position));
}

/** Writes the number of objects of a pack, and behind its last one the checksum, which it gives. */
export function finishPack(file: number, end: number, { count }: PackTable, hash: HashAlgorithm): Buffer {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(count);
  write(file, number, 8);
  const checksum = digestOf(file, end, hash);
  write(file, checksum, end);
  return checksum;
}

/** The hash of a file up to an end. */
function digestOf(file: number, end: number, hash: HashAlgorithm): Buffer {
  const running = createHash(hash.name);
  const room = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; at < end; ) {
    const got = readSync(file, room, 0, Math.min(pieceBytes, end - at), at);
    if (got === 0) throw new Error('its pack ends too early');
    running.update(room.subarray(0, got));
    at += got;
  }
  return running.digest();
}

/** Writes all of the bytes at a position. */
export function write(file: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, position + at);
}
