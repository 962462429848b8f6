import { readSync } from 'node:fs';
import { crc32, createInflate, inflateSync } from 'node:zlib';
import { inflateInto } from '../objects/inflate-small.js';

/** A pack on the disk while it is indexed, read at positions. */
export type PackFile = {
  /** Where its entries end. */
  end(): number;
  /** Says that entries were written to the file, up to a new end. */
  extend(end: number): void;
  /** Bytes from a position on, at most until `end`; good until the next call. */
  read(position: number, length: number): Buffer;
  /** Inflates what begins at a position and must give `size` bytes. `length`, if it is known, is how many bytes that takes. */
  inflate(position: number, size: number, length?: number): Inflated;
  /** The same, into memory that is good until the next call, which spares the garbage collector most of its work. */
  inflateBriefly(position: number, size: number, length?: number): Inflated;
  /** The same piece by piece. Gives how many bytes it took. @throws also what `take` throws */
  inflateInPieces(position: number, size: number, take: (piece: Buffer) => void): Promise<number>;
  /** CRC32 of bytes of the file. */
  crc(position: number, length: number): number;
};

type Inflated = { readonly data: Buffer /** Bytes of the file that it took. */; readonly length: number };

/**
 * Objects are small and lie one after the other: a read gives hundreds of them, as long as what is read goes on from what was read before.
 * Where it does not, as when deltas are resolved, so much would be read for each.
 */
const windowBytes = { least: 16 * 1024, most: 1024 * 1024 } as const;

/** Memory for what is inflated is taken in pieces of at most this size, since sizes are only claimed. */
const largestPiece = 1024 * 1024;

const pieceBytes = 256 * 1024;

/**
 * Reads an open file.
 * @param firstEnd - where its entries end
 */
export function packFile(file: number, firstEnd: number): PackFile {
  let end = firstEnd;
  const window = Buffer.allocUnsafeSlow(windowBytes.most);
  /** How much is read ahead. */
  let ahead: number = windowBytes.most;
  let from = 0;
  let filled = 0;
  const room = roomFor();

  function fill(into: Buffer, position: number): number {
    let at = 0;
    while (at < into.length) {
      const got = readSync(file, into, at, into.length - at, position + at);
      if (got === 0) break;
      at += got;
    }
    return at;
  }

  function read(position: number, length: number): Buffer {
    const wanted = Math.max(0, Math.min(length, end - position));
    if (position < from || position + wanted > from + filled) {
      if (wanted > windowBytes.most) {
        const out = Buffer.allocUnsafe(wanted);
        return out.subarray(0, fill(out, position));
      }
      const goesOn = position >= from && position <= from + filled;
      ahead = goesOn ? Math.min(windowBytes.most, ahead * 2) : windowBytes.least;
      from = position;
      filled = fill(window.subarray(0, Math.min(Math.max(wanted, ahead), end - position)), position);
    }
    return window.subarray(position - from, position - from + Math.min(wanted, filled - (position - from)));
  }

  function inflateTo(position: number, size: number, length: number | undefined, take: Room): Inflated {
    // zlib's own bound for what it makes of so many bytes, and some more for other deflaters; then all that there can be.
    const bound = size + (size >>> 8) + 64;
    for (const most of length === undefined ? [bound, 8 * bound + 65_536] : [length]) {
      const input = read(position, most);
      if (size < largestPiece) {
        const data = take(size + 1);
        const took = inflateInto(input, data, size);
        if (took !== undefined) return { data: data.subarray(0, size), length: took };
      }
      try {
        const { buffer, engine } = inflateSync(input, {
          maxOutputLength: Math.max(1, size),
          chunkSize: Math.max(64, Math.min(size + 1, largestPiece)),
          info: true,
        }) as unknown as { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
        if (buffer.length !== size) throw new Error(`it gives ${buffer.length} bytes and not ${size}`);
        return { data: buffer, length: engine.bytesWritten };
      } catch (error) {
        const more = (error as NodeJS.ErrnoException).code === 'Z_BUF_ERROR' && position + most < end;
        if (!more || most !== bound || length !== undefined) throw notInflated(position, size, error);
      }
    }
    throw notInflated(position, size, new Error('it does not end'));
  }

  async function inflateInPieces(position: number, size: number, take: (piece: Buffer) => void): Promise<number> {
    const engine = createInflate({ chunkSize: pieceBytes });
    let given = 0;
    let at = position;
    const feed = async () => {
      while (at < end && !engine.destroyed && !engine.readableEnded) {
        const piece = Buffer.from(read(at, pieceBytes));
        at += piece.length;
        if (!engine.write(piece)) {
          await new Promise<void>((resolve) => {
            engine.once('drain', resolve).once('close', resolve).once('end', resolve);
          });
        }
      }
      if (!engine.destroyed) engine.end();
    };
    const fed = feed();
    try {
      for await (const piece of engine as AsyncIterable<Buffer>) {
        given += piece.length;
        if (given > size) throw new Error(`it gives more than ${size} bytes`);
        take(piece);
      }
      if (given !== size) throw new Error(`it gives ${given} bytes and not ${size}`);
    } catch (error) {
      throw notInflated(position, size, error);
    } finally {
      engine.destroy();
      await fed.catch(() => undefined);
    }
    return engine.bytesWritten;
  }

  return {
    end: () => end,
    extend(to) {
      end = to;
      filled = 0;
    },
    read,
    inflate: (position, size, length) => inflateTo(position, size, length, Buffer.allocUnsafe),
    inflateBriefly: (position, size, length) => inflateTo(position, size, length, room),
    inflateInPieces,
    crc(position, length) {
      if (length <= windowBytes.most) return crc32(read(position, length));
      let sum = 0;
      for (let at = 0; at < length; at += pieceBytes) {
        sum = crc32(read(position + at, Math.min(pieceBytes, length - at)), sum);
      }
      return sum;
    },
  };
}

/** Gives memory of a size. */
export type Room = (size: number) => Buffer;

/** Memory that is good until it is asked for again: the same each time, but for what is large. */
export function roomFor(): Room {
  let room = Buffer.allocUnsafeSlow(64 * 1024);
  return (size) => {
    if (size > largestPiece) return Buffer.allocUnsafe(size);
    if (size > room.length) room = Buffer.allocUnsafeSlow(Math.min(largestPiece, 2 * size));
    return room;
  };
}

function notInflated(position: number, size: number, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(
    `its pack is malformed: what begins at ${position} is not of the ${size} bytes that it says: ${why}`,
  );
}
