import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';

/** An entry of a pack that is written by hand, right or wrong. */
export type PackEntry = {
  readonly kind: number;
  readonly data: Buffer;
  /** What it says its size is, if that is not so. */
  readonly claimed?: number;
  /** Distance to the base, for an offset delta; or else its id. */
  readonly distance?: number;
  readonly baseId?: Buffer;
  /** What stands there deflated, if not the data. */
  readonly deflated?: Buffer;
};

export const [commit, tree, blob, tag, offsetDelta, idDelta] = [1, 2, 3, 4, 6, 7] as const;

/** The bytes of an entry. */
export function entryBytes({ kind, data, claimed = data.length, distance, baseId, deflated }: PackEntry): Buffer {
  const head: number[] = [(kind << 4) | (claimed % 16)];
  for (let rest = Math.floor(claimed / 16); rest > 0; rest = Math.floor(rest / 128)) {
    head[head.length - 1] = (head.at(-1) ?? 0) | 0x80;
    head.push(rest % 128);
  }
  const back: number[] = [];
  if (distance !== undefined) {
    back.push(distance & 0x7f);
    for (let rest = distance >>> 7; rest > 0; rest >>>= 7) back.unshift(0x80 | (--rest & 0x7f));
  }
  return Buffer.concat([Buffer.from([...head, ...back]), baseId ?? Buffer.alloc(0), deflated ?? deflateSync(data)]);
}

/** A pack of entries with its checksum. @param count - how many objects it says that it has */
export function packOf(entries: readonly PackEntry[], { count = entries.length, hash = 'sha1' } = {}): Buffer {
  return withChecksum(Buffer.concat([packHeader(count), ...entries.map(entryBytes)]), hash);
}

export function packHeader(count: number): Buffer {
  const header = Buffer.from('PACK\0\0\0\u0002\0\0\0\0', 'latin1');
  header.writeUInt32BE(count, 8);
  return header;
}

export function withChecksum(bytes: Buffer, hash = 'sha1'): Buffer {
  return Buffer.concat([bytes, createHash(hash).update(bytes).digest()]);
}

/** A delta that copies all of a base and appends to it. */
export function appending(baseLength: number, more: string): Buffer {
  const text = Buffer.from(more);
  const copy = baseLength === 0 ? [] : [0x80 | 0x10 | 0x20, baseLength & 0xff, (baseLength >>> 8) & 0xff];
  return Buffer.from([...varint(baseLength), ...varint(baseLength + text.length), ...copy, text.length, ...text]);
}

/** A delta that has nothing of its base. */
export function replacing(baseLength: number, data: Buffer): Buffer {
  const most = 127;
  const pieces = Array.from({ length: Math.ceil(data.length / most) }, (_, i) =>
    data.subarray(i * most, (i + 1) * most),
  );
  return Buffer.from([
    ...varint(baseLength),
    ...varint(data.length),
    ...pieces.flatMap((piece) => [piece.length, ...piece]),
  ]);
}

export function varint(value: number): number[] {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(rest % 128);
  }
  return bytes;
}

/** The raw id of an object. */
export function idOf(type: string, data: Buffer, hash = 'sha1'): Buffer {
  return createHash(hash).update(`${type} ${data.length}\0`).update(data).digest();
}
