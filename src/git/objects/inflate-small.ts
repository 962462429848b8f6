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
 */
export function inflateInto(input: Buffer, output: Buffer, size: number): number | undefined {
  if (!handle?.writeSync || left?.length !== 2) return undefined;
  failed = false;
  handle.reset();
  handle.writeSync(constants.Z_FINISH, input, 0, input.length, output, 0, size + 1);
  return failed || left[0] !== 1 ? undefined : input.length - (left[1] as number);
}

/** The same, into memory of its own. */
export function inflateSmall(input: Buffer, size: number): Buffer | undefined {
  const output = Buffer.allocUnsafe(size + 1);
  return inflateInto(input, output, size) === undefined ? undefined : output.subarray(0, size);
}
