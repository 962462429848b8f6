import { crc32, deflateSync } from 'node:zlib';

/** What a table is to say of a ref. */
export type WrittenRef =
  | { readonly name: string; readonly id: string; readonly peeled?: string }
  | { readonly name: string; readonly target: string }
  | { readonly name: string; readonly deleted: true };

/** In which of the forms that git's technical documentation allows a table is written. */
export type TableForm = {
  readonly version: 1 | 2;
  /** What blocks of refs are padded to, in bytes; 0 for blocks of any size without padding. */
  readonly blockSize: number;
  /** Every how many records a key stands whole. */
  readonly restartEvery: number;
  /** Most records of a block, so that small tables have several, and indexes several levels. */
  readonly perBlock: number;
  readonly indexed: boolean;
  /** Whether a block of a log follows. */
  readonly log: boolean;
};

type Row = { readonly key: string; readonly type: number; readonly rest: Buffer };

function varint(value: number): Buffer {
  const bytes = [value % 128];
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) {
    left -= 1;
    bytes.unshift(0x80 | (left % 128));
  }
  return Buffer.from(bytes);
}

function uint24(value: number): Buffer {
  const bytes = Buffer.alloc(3);
  bytes.writeUIntBE(value, 0, 3);
  return bytes;
}

/** A block whose first byte is at `begin` of what it counts from: the table's header for the first, 0 for others. */
function block(kind: string, rows: readonly Row[], begin: number, restartEvery: number): Buffer {
  const parts: Buffer[] = [];
  const restarts: Buffer[] = [];
  let at = begin + 4;
  let last = Buffer.alloc(0);
  for (const [i, { key, type, rest }] of rows.entries()) {
    const bytes = Buffer.from(key);
    let shared = 0;
    if (i % restartEvery === 0) restarts.push(uint24(at));
    else while (shared < last.length && shared < bytes.length && last[shared] === bytes[shared]) shared++;
    const suffix = bytes.subarray(shared);
    const record = Buffer.concat([varint(shared), varint(suffix.length * 8 + type), suffix, rest]);
    parts.push(record);
    at += record.length;
    last = bytes;
  }
  const count = Buffer.alloc(2);
  count.writeUInt16BE(restarts.length);
  const length = at + 3 * restarts.length + 2;
  return Buffer.concat([Buffer.from(kind), uint24(length), ...parts, ...restarts, count]);
}

function rowOf(ref: WrittenRef, changed: number): Row {
  const id = (hex: string) => Buffer.from(hex, 'hex');
  const row = (type: number, ...rest: Buffer[]) => ({
    key: ref.name,
    type,
    rest: Buffer.concat([varint(changed), ...rest]),
  });
  if ('deleted' in ref) return row(0);
  if ('target' in ref) return row(3, varint(Buffer.byteLength(ref.target)), Buffer.from(ref.target));
  return ref.peeled === undefined ? row(1, id(ref.id)) : row(2, id(ref.id), id(ref.peeled));
}

/** The bytes of a reftable, written from the format's description alone and not with what reads it. Refs are in the order of their bytes. */
export function reftable(refs: readonly WrittenRef[], form: TableForm, hash: 'sha1' | 's256' = 'sha1'): Buffer {
  const header = Buffer.alloc(form.version === 1 ? 24 : 28);
  header.write('REFT');
  header.writeUInt8(form.version, 4);
  header.writeUIntBE(form.blockSize, 5, 3);
  header.writeBigUInt64BE(1n, 8);
  header.writeBigUInt64BE(9n, 16);
  if (form.version === 2) header.write(hash, 24);
  let file = header;
  const add = (bytes: Buffer) => {
    file = Buffer.concat([file, bytes]);
  };

  /** Writes rows into blocks of at most so many, and gives the last key and the position of each. */
  function blocks(kind: string, rows: readonly Row[], most: number): Row[] {
    const made: Row[] = [];
    for (let from = 0; from < rows.length; ) {
      const first = file.length === header.length;
      let taken = rows.slice(from, from + most);
      let bytes = block(kind, taken, first ? header.length : 0, form.restartEvery);
      // What does not fit goes into the next.
      const room = form.blockSize - (first ? header.length : 0);
      while (form.blockSize > 0 && bytes.length > room && taken.length > 1) {
        taken = taken.slice(0, -1);
        bytes = block(kind, taken, first ? header.length : 0, form.restartEvery);
      }
      if (form.blockSize > 0 && !first && file.length % form.blockSize > 0 && kind === 'r') {
        add(Buffer.alloc(form.blockSize - (file.length % form.blockSize)));
      }
      made.push({ key: taken.at(-1)?.key ?? '', type: 0, rest: varint(first ? 0 : file.length) });
      add(bytes);
      from += taken.length;
    }
    return made;
  }

  let level = blocks(
    'r',
    refs.map((ref, i) => rowOf(ref, i % 9)),
    form.perBlock,
  );
  let indexAt = 0;
  while (form.indexed && level.length > 0) {
    indexAt = file.length;
    level = blocks('i', level, Math.max(2, form.perBlock));
    if (level.length === 1) break;
  }
  const logAt = form.log ? file.length : 0;
  if (form.log) {
    const happened = Buffer.from('what happened to refs is not read; '.repeat(20));
    add(Buffer.concat([Buffer.from('g'), uint24(4 + happened.length), deflateSync(happened)]));
  }
  const footer = Buffer.concat([header, Buffer.alloc(5 * 8)]);
  footer.writeBigUInt64BE(BigInt(indexAt), header.length);
  footer.writeBigUInt64BE(BigInt(logAt), header.length + 3 * 8);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(footer));
  return Buffer.concat([file, footer, sum]);
}
