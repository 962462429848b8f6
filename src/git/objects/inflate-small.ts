import { constants, createInflate } from 'node:zlib';

/**
 * What a stream of zlib keeps inside of it in every version of Node.js. It is no public interface, so nothing is taken on trust from it:
 * without it, or where it does not give what was expected, there is no answer.
 */
type Inside = {
  readonly _handle?: {
    reset(): void;
    writeSync(flush: number, from: Buffer, at: number, length: number, to: Buffer, toAt: number, room: number): void;
    onerror: unknown;
  };
  /** Bytes of room, and of input, that the last write left. */
  readonly _writeState?: Uint32Array;
};

const { _handle: handle, _writeState: left } = createInflate() as unknown as Inside;
let failed = false;
if (handle) {
  handle.onerror = () => {
    failed = true;
  };
}

/**
 * Inflates with one inflater for all: `inflateSync` makes one each time, which takes longer than most of what it is made for. Gives how many
 * bytes of the input that took; undefined if the input is no whole zlib stream of as many bytes, or there is no such inflater;
 * `inflateSync` says which.
 * @param input - the stream, and what may follow it
 * @param output - where it is put, with a byte of room to spare, so that an end is told from a stream that has more
 * @param size - bytes that it is to give
 * @param from - where in the input the stream begins
 * @param to - where in the output it is put
 */
export function inflateInto(input: Buffer, output: Buffer, size: number, from = 0, to = 0): number | undefined {
  if (!handle?.writeSync || left?.length !== 2) return undefined;
  failed = false;
  handle.reset();
  handle.writeSync(constants.Z_FINISH, input, from, input.length - from, output, to, size + 1);
  return failed || left[0] !== 1 ? undefined : input.length - from - (left[1] as number);
}

/** Most of what is inflated is small, and memory of its own for each takes longer than the inflating. */
const slabBytes = 32 * 1024;
const largestInSlab = 4 * 1024;
let slab = Buffer.allocUnsafeSlow(slabBytes);
let used = 0;

/** The same, into memory of its own. */
export function inflateSmall(input: Buffer, size: number, from = 0): Buffer | undefined {
  if (size > largestInSlab) {
    const output = Buffer.allocUnsafe(size + 1);
    return inflateInto(input, output, size, from) === undefined ? undefined : output.subarray(0, size);
  }
  if (used + size + 1 > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes);
    used = 0;
  }
  if (inflateInto(input, slab, size, from, used) === undefined) return undefined;
  const output = slab.subarray(used, used + size);
  used += size;
  return output;
}
