import { ObjectTooLarge } from './object.js';

const shortPiece = 64;

/**
 * Applies a delta as packs hold them (gitformat-pack(5), "Deltified representation") to its base.
 * @param limit - most bytes that the result may have
 * @param fail - makes the error to throw for a delta that does not fit its base or itself
 * @param room - gives at least so many bytes of memory for the result; its own unless given
 */
export function applyDelta(
  base: Buffer,
  delta: Buffer,
  limit: number,
  fail: (what: string, cause?: unknown) => Error,
  room: (size: number) => Buffer = Buffer.allocUnsafe,
): Buffer {
  let at = 0;
  const next = (): number => {
    const byte = delta[at++];
    if (byte === undefined) throw fail('a delta ends too early');
    return byte;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = next();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 || value > Number.MAX_SAFE_INTEGER) return value;
    }
  };
  if (varint() !== base.length) throw fail('a delta belongs to a base of another size');
  const size = varint();
  if (size > limit) throw fail(`an object has more than ${limit} bytes`, new ObjectTooLarge(size));
  const out = room(size);
  let filled = 0;
  while (at < delta.length) {
    const command = next();
    if (command === 0) throw fail('a delta has an unknown command');
    let source = delta;
    let start = at;
    let length = command;
    if (command & 0x80) {
      source = base;
      start = 0;
      length = 0;
      for (let i = 0; i < 4; i++) if (command & (1 << i)) start += next() * 2 ** (8 * i);
      for (let i = 0; i < 3; i++) if (command & (0x10 << i)) length += next() * 2 ** (8 * i);
      if (length === 0) length = 0x10000;
    } else at += length;
    if (start + length > source.length || filled + length > size)
      throw fail('a delta reaches beyond its base or result');
    // Most pieces are so short that a call takes longer than the copying.
    if (length < shortPiece) for (let i = 0; i < length; i++) out[filled + i] = source[start + i] ?? 0;
    else source.copy(out, filled, start, start + length);
    filled += length;
  }
  if (filled !== size) throw fail('a delta gives fewer bytes than it says');
  return out.length === size ? out : out.subarray(0, size);
}
