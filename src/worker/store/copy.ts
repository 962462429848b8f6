import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

/** Bytes of one read. */
const pieceBytes = 256 * 1024;

/** Bytes that are left out of a file, as a hole, if they are all zero. */
const blockBytes = 4_096;

const zeros = Buffer.alloc(pieceBytes);

/** A source is longer than it may be. */
export class TooLong extends Error {
  override readonly name = 'TooLong';
}

/**
 * Copies a file from its start to its end, whatever size it had before, and adds it to the hash. Blocks of zeros become holes, so
 * that a sparse file takes no more of the disk than the original. Never writes more than `limit` bytes. Gives the number of bytes.
 * @throws TooLong if the source has more than `limit` bytes; the signal's reason
 */
export async function copySparse(
  source: FileHandle,
  target: FileHandle,
  hash: Hash,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const buffer = Buffer.allocUnsafe(pieceBytes);
  let size = 0;
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) break;
    if (size + bytesRead > limit) throw new TooLong(`there are more than ${limit} bytes`);
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    for (const [from, to] of dataOf(piece)) await writeAll(target, piece.subarray(from, to), size + from);
    size += bytesRead;
  }
  // A hole at the end is made by the length alone.
  await target.truncate(size);
  return size;
}

/** Writes all of the bytes at a position, however many calls that takes. */
export async function writeAll(target: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await target.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** The parts of a piece that are not blocks of zeros, as ranges of bytes. */
function dataOf(piece: Buffer): [from: number, to: number][] {
  if (piece.equals(zeros.subarray(0, piece.length))) return [];
  const parts: [number, number][] = [];
  let last: [number, number] | undefined;
  for (let from = 0; from < piece.length; from += blockBytes) {
    const to = Math.min(from + blockBytes, piece.length);
    if (piece.subarray(from, to).equals(zeros.subarray(0, to - from))) last = undefined;
    else if (last) last[1] = to;
    else {
      last = [from, to];
      parts.push(last);
    }
  }
  return parts;
}
