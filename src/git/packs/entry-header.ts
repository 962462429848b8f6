import { offsetDelta } from '../objects/pack-entry.js';

/**
 * The bytes before the deflated content of an entry (gitformat-pack(5)).
 * @param base - how far back the base of an offset delta is, or the id of the base of another one
 */
export function entryHeader(kind: number, size: number, base?: number | Buffer): Buffer {
  const bytes = [(kind << 4) | (size & 15)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) as number) | 0x80;
    bytes.push(rest & 0x7f);
  }
  if (base instanceof Buffer) return Buffer.concat([Buffer.from(bytes), base]);
  if (kind === offsetDelta && typeof base === 'number') bytes.push(...distance(base));
  return Buffer.from(bytes);
}

/** Most significant part first, each further part one less than its value, so that no number has two forms. */
function distance(back: number): number[] {
  const bytes = [back % 128];
  for (let rest = Math.floor(back / 128); rest > 0; rest = Math.floor(rest / 128)) {
    rest--;
    bytes.unshift(0x80 | (rest % 128));
  }
  return bytes;
}
