import { quote } from '../../domain/errors.js';

/** What is not content: the end of a message, of a section of it, and of a response (gitprotocol-v2(5)). */
export type Mark = 'flush' | 'delimiter' | 'end';

/** Reads pkt-lines (gitprotocol-common(5)) from bytes as they come. */
export type PktReader = {
  /**
   * The next one; good until the call after.
   * @param within - what it is part of, for the error if the bytes end
   * @throws Error saying what came instead of one, or what the other side refuses in an `ERR` line
   */
  next(within: string): Promise<Buffer | Mark>;
  /** As `next`, but undefined where the bytes end before it. */
  nextIfAny(within: string): Promise<Buffer | Mark | undefined>;
  /** All bytes that follow. */
  rest(): AsyncGenerator<Buffer>;
  /** Breaks off. */
  cancel(): Promise<void>;
};

export const flush = Buffer.from('0000');
export const delimiter = Buffer.from('0001');

/** A pkt-line of content. */
export function pktLine(content: string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}

const marks: Readonly<Record<number, Mark>> = { 0: 'flush', 1: 'delimiter', 2: 'end' };

const longestTold = 256;

/** Reads pkt-lines from bytes. */
export function readPktLines(bytes: AsyncIterable<Uint8Array>): PktReader {
  const pieces = bytes[Symbol.asyncIterator]();
  let have: Buffer = Buffer.alloc(0);

  /** Makes so many bytes be there; false if there are none at all any more. */
  async function fill(length: number, within: string): Promise<boolean> {
    if (have.length >= length) return true;
    const waiting: Uint8Array[] = have.length > 0 ? [have] : [];
    let count = have.length;
    while (count < length) {
      const { done, value } = await pieces.next();
      if (done && count === 0) return false;
      if (done) throw new Error(`it ends within ${within}`);
      waiting.push(value);
      count += value.length;
    }
    const [only] = waiting;
    have =
      waiting.length === 1 && only ? Buffer.from(only.buffer, only.byteOffset, only.length) : Buffer.concat(waiting);
    return true;
  }

  function take(length: number): Buffer {
    const taken = have.subarray(0, length);
    have = have.subarray(length);
    return taken;
  }

  async function nextIfAny(within: string): Promise<Buffer | Mark | undefined> {
    if (!(await fill(4, within))) return undefined;
    const digits = take(4).toString('latin1');
    const length = /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : -1;
    const mark = marks[length];
    if (mark !== undefined) return mark;
    if (length < 4) throw new Error(`it does not speak the git protocol: it says ${quote(digits)}`);
    if (!(await fill(length - 4, within))) throw new Error(`it ends within ${within}`);
    const content = take(length - 4);
    if (content.toString('latin1', 0, 4) === 'ERR ')
      throw new Error(`it says ${quote(content.toString('utf8', 4, longestTold).trimEnd())}`);
    return content;
  }

  return {
    nextIfAny,
    async next(within) {
      const found = await nextIfAny(within);
      if (found === undefined) throw new Error(`it ends within ${within}`);
      return found;
    },
    async *rest() {
      if (have.length > 0) yield take(have.length);
      for (let got = await pieces.next(); !got.done; got = await pieces.next()) yield Buffer.from(got.value);
    },
    async cancel() {
      await pieces.return?.();
    },
  };
}

/** The text of a line, without its line end. */
export function lineText(content: Buffer): string {
  return content.toString('utf8').replace(/\n$/, '');
}
