import { hash as digest } from 'node:crypto';
import { fstatSync, readSync, writeSync } from 'node:fs';
import type { BlobName } from '../blob-name.js';
import type { Blob } from '../content.js';

// How blobs stand in a journal, one after the other: the hash in 64 digits, the size as 8 bytes of which the first is the highest, the bytes. A blob whose bytes have its
// hash was written whole, so nothing else is needed to tell where a journal ends that a crash cut off.

const headBytes = 72;

/** Bytes that are gathered before they are written. */
const gatheredBytes = 1024 * 1024;

/** Bytes that blobs take in a journal. */
export function recordedBytes(names: Iterable<Pick<BlobName, 'size'>>): number {
  let bytes = 0;
  for (const { size } of names) bytes += headBytes + size;
  return bytes;
}

/** Writes blobs into journals, in few large pieces. */
export function recordWriter(): (file: number, blobs: readonly Blob[], at: number) => void {
  let room: Buffer | undefined;
  return (file, blobs, at) => {
    room ??= Buffer.allocUnsafeSlow(gatheredBytes);
    let [filled, next] = [0, at];
    const flush = () => {
      next = writeAll(file, (room as Buffer).subarray(0, filled), next);
      filled = 0;
    };
    for (const { name, data } of blobs) {
      if (filled + headBytes + data.length > room.length) flush();
      room.write(name.hash, filled, 'latin1');
      room.writeBigUInt64BE(BigInt(data.length), filled + 64);
      filled += headBytes;
      if (filled + data.length > room.length) {
        flush();
        next = writeAll(file, data, next);
      } else {
        room.set(data, filled);
        filled += data.length;
      }
    }
    flush();
  };
}

/** Writes all of some bytes at a place of a file, at once. @returns where they end */
function writeAll(file: number, data: Uint8Array, position: number): number {
  let at = 0;
  while (at < data.length) at += writeSync(file, data, at, data.length - at, position + at);
  return position + at;
}

/** A blob in a journal, and how its bytes are read: undefined if they are not its own. */
type Recorded = { readonly name: BlobName; data(): Uint8Array | undefined };

/** Blobs of a journal in their order, as far as it says where they are. Their bytes are looked at when they are asked for. */
export function* recordsIn(file: number): Generator<Recorded, void, undefined> {
  const { size: end } = fstatSync(file);
  const head = Buffer.alloc(headBytes);
  for (let at = 0; at + headBytes <= end; ) {
    if (readSync(file, head, 0, headBytes, at) < headBytes) return;
    const hash = head.toString('latin1', 0, 64);
    const size = Number(head.readBigUInt64BE(64));
    const from = at + headBytes;
    if (!/^[0-9a-f]{64}$/.test(hash) || from + size > end) return;
    yield {
      name: { hash, size },
      data() {
        const data = Buffer.allocUnsafe(size);
        return readSync(file, data, 0, size, from) === size && digest('sha256', data) === hash ? data : undefined;
      },
    };
    at = from + size;
  }
}
