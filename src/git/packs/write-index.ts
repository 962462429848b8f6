import { createHash } from 'node:crypto';
import { replaceDurably } from '../../files/durable-file.js';
import type { HashAlgorithm } from '../hash.js';
import type { PackTable } from './pack-table.js';

/** Offsets from here on do not fit into the table of small ones. */
const large = 0x80000000;

const pieceRows = 16_384;

/**
 * Writes the index of a pack, version 2 (gitformat-pack(5)), as git does, byte for byte.
 * @param sorted - rows in the order of their ids
 * @param checksum - the pack's own
 * @throws as `replaceDurably`
 */
export function writePackIndex(
  path: string,
  table: PackTable,
  sorted: Uint32Array,
  checksum: Buffer,
  hash: HashAlgorithm,
): void {
  const running = createHash(hash.name);
  function* pieces(): Generator<Buffer> {
    for (const piece of body(table, sorted, checksum)) {
      running.update(piece);
      yield piece;
    }
    yield running.digest();
  }
  replaceDurably(path, pieces(), { aside: `${path}.tmp`, mode: 0o400 });
}

function* body(table: PackTable, sorted: Uint32Array, checksum: Buffer): Generator<Buffer> {
  yield Buffer.from('ff744f6300000002', 'hex');
  const fanout = new Uint32Array(256);
  for (const row of sorted)
    fanout[table.ids[row * table.idBytes] as number] = (fanout[table.ids[row * table.idBytes] as number] as number) + 1;
  const counts = Buffer.alloc(1_024);
  let sum = 0;
  for (const [first, count] of fanout.entries()) {
    sum += count;
    counts.writeUInt32BE(sum, first * 4);
  }
  yield counts;
  yield* column(sorted, table.idBytes, (row, into, at) => void table.id(row).copy(into, at));
  yield* column(sorted, 4, (row, into, at) => void into.writeUInt32BE(table.crc[row] as number, at));
  const far: number[] = [];
  yield* column(sorted, 4, (row, into, at) => {
    const offset = table.offset[row] as number;
    into.writeUInt32BE(offset < large ? offset : large + far.push(offset) - 1, at);
  });
  const offsets = Buffer.alloc(far.length * 8);
  for (const [i, offset] of far.entries()) offsets.writeBigUInt64BE(BigInt(offset), i * 8);
  yield offsets;
  yield checksum;
}

function* column(
  sorted: Uint32Array,
  bytes: number,
  write: (row: number, into: Buffer, at: number) => void,
): Generator<Buffer> {
  for (let first = 0; first < sorted.length; first += pieceRows) {
    const rows = sorted.subarray(first, first + pieceRows);
    const piece = Buffer.allocUnsafe(rows.length * bytes);
    for (let i = 0; i < rows.length; i++) write(rows[i] as number, piece, i * bytes);
    yield piece;
  }
}
