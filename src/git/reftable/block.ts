import type { PagedFile } from '../objects/paged-file.js';

/** Makes the error for bytes that are no reftable. */
export type Fail = (what: string) => Error;

/** Kinds of blocks, as their first byte has them: of refs, and of where blocks end. Those of logs and objects are not read. */
export const refBlock = 0x72;
export const indexBlock = 0x69;

/** A run of records in the order of their keys. */
export type Block = {
  readonly kind: number;
  /** Where the next block of the same kind begins, if there is one. */
  readonly next: number;
  /** All records; with a key some of those before it are left out, but none from the first on whose key is not before it. */
  records(key?: Buffer): Records;
};

/** Reads records one after the other. What follows the key of one is read by its reader before the next is asked for. */
export type Records = {
  /** Goes to the next record; undefined behind the last. */
  next(): Entry | undefined;
  /** A number of the record at hand. */
  varint(): number;
  /** Bytes of the record at hand. */
  bytes(length: number): Buffer;
};

/** A record's key, and the three bits that say what follows it. */
export type Entry = { readonly key: Buffer; readonly type: number };

/** Where the blocks of a table lie. */
export type Extent = {
  /** Bytes of the table's header, which is part of the first block. */
  readonly header: number;
  /** What blocks of refs are padded to, in bytes; 0 for nothing. */
  readonly blockSize: number;
  /** Where the footer begins. */
  readonly end: number;
};

/** Kind, length, one restart and how many there are: the least that a block has. */
const leastBytes = 4 + 3 + 2;

/** The kind of the block at a position; undefined beyond the end. */
export function kindOfBlock(file: PagedFile, position: number, { header }: Pick<Extent, 'header'>): number | undefined {
  return file.read(position === 0 ? header : position, 1)[0];
}

/**
 * The block of refs, or of their index, at a position of a table, as git's technical documentation "reftable" has it: a kind, its length in three bytes, records, and, at the
 * end, where keys stand whole (restarts), three bytes each, and their number in two. The first block begins with the table's header.
 */
export function readBlock(file: PagedFile, position: number, { header, blockSize, end }: Extent, fail: Fail): Block {
  const begin = position === 0 ? header : 0;
  const head = file.read(position + begin, 4);
  const kind = head[0] as number;
  const length = head.length < 4 ? 0 : head.readUIntBE(1, 3);
  const wrong = (what: string) => fail(`the block at byte ${position} ${what}`);
  if (length < begin + leastBytes || position + length > end) throw wrong(`says that it has ${length} bytes`);
  const bytes = file.read(position, length);
  const restarts = bytes.readUInt16BE(length - 2);
  const restartsAt = length - 2 - 3 * restarts;
  const first = begin + 4;
  if (restarts === 0 || restartsAt <= first) throw wrong(`says that it has ${restarts} restarts`);

  function restart(index: number): number {
    const at = bytes.readUIntBE(restartsAt + 3 * index, 3);
    if (at < first || at >= restartsAt) throw wrong(`has a restart at ${at}`);
    return at;
  }

  function records(key?: Buffer): Records {
    let at = first;
    let last: Buffer = Buffer.alloc(0);

    function byte(): number {
      if (at >= restartsAt) throw wrong('ends within a record');
      return bytes[at++] as number;
    }

    /** A number as git writes offsets in packs: seven bits a byte, each byte but the last adding one. */
    function varint(): number {
      let more = byte();
      let value = more & 0x7f;
      while (more & 0x80) {
        more = byte();
        value = (value + 1) * 128 + (more & 0x7f);
        if (!Number.isSafeInteger(value)) throw wrong('has a number that is too large');
      }
      return value;
    }

    function take(size: number): Buffer {
      if (size > restartsAt - at) throw wrong('ends within a record');
      at += size;
      return bytes.subarray(at - size, at);
    }

    function entry(): Entry | undefined {
      if (at >= restartsAt) return undefined;
      const shared = varint();
      const rest = varint();
      if (shared > last.length) throw wrong('has a key that begins as none before it');
      const suffix = take(Math.floor(rest / 8));
      last = shared === 0 ? suffix : Buffer.concat([last.subarray(0, shared), suffix]);
      return { key: last, type: rest % 8 };
    }

    /** Goes to the last restart whose key is before the one that is looked for. */
    function seek(wanted: Buffer): void {
      let low = 0;
      let high = restarts;
      while (high - low > 1) {
        const middle = (low + high) >>> 1;
        at = restart(middle);
        last = Buffer.alloc(0);
        const found = entry();
        if (found && Buffer.compare(found.key, wanted) < 0) low = middle;
        else high = middle;
      }
      at = low === 0 ? first : restart(low);
      last = Buffer.alloc(0);
    }

    if (key) seek(key);
    return { next: entry, varint, bytes: take };
  }

  return { kind, next: position + paddedLength(file, position, length, { blockSize, end }), records };
}

/** Bytes from a block to the next: padding is of zeros, and no block begins with one. */
function paddedLength(file: PagedFile, position: number, length: number, { blockSize, end }: Omit<Extent, 'header'>) {
  if (length >= blockSize || position + length >= end) return length;
  return file.read(position + length, 1)[0] === 0 ? blockSize : length;
}
