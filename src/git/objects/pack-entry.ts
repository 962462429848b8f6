import type { ObjectType } from './object.js';

// How packs are laid out (gitformat-pack(5)).

/** Kinds of entries in a pack by their numbers. */
export const kinds: readonly (ObjectType | undefined)[] = [undefined, 'commit', 'tree', 'blob', 'tag'];
export const commitKind = 1;
export const tagKind = 4;
export const offsetDelta = 6;
export const idDelta = 7;

/** Bytes of "PACK", the version and the number of objects. */
export const packHeaderBytes = 12;

/** More than an entry's header can take: size, and offset or id of the base. */
export const longestEntryHeader = 64;

/** Whether this is how a pack of a version that is known begins. */
export function isPackHeader(header: Buffer): boolean {
  const version = header.length < packHeaderBytes ? 0 : header.readUInt32BE(4);
  return header.toString('latin1', 0, 4) === 'PACK' && (version === 2 || version === 3);
}

/** What stands before the deflated content of an object in a pack. */
export type EntryHeader = {
  readonly kind: number;
  /** Bytes of the inflated content, as it is claimed; may be no safe integer. */
  readonly size: number;
  /** Bytes of the header. */
  readonly head: number;
  /** How far back the base of an offset delta is, or the id of the base of another one, which is part of the bytes given. */
  readonly base: number | Buffer | undefined;
};

/**
 * Reads the header of an entry, of whatever kind.
 * @param ended - makes the error to throw if the bytes end within it
 */
export function readEntryHeader(bytes: Buffer, idBytes: number, ended: () => Error): EntryHeader {
  let at = 0;
  const next = (): number => {
    const byte = bytes[at++];
    if (byte === undefined) throw ended();
    return byte;
  };
  let byte = next();
  const kind = (byte >> 4) & 7;
  let size = byte & 15;
  for (let scale = 16; byte & 0x80; scale *= 128) {
    byte = next();
    size += (byte & 0x7f) * scale;
  }
  let base: number | Buffer | undefined;
  if (kind === offsetDelta) {
    byte = next();
    base = byte & 0x7f;
    while (byte & 0x80) {
      byte = next();
      base = (base + 1) * 128 + (byte & 0x7f);
    }
  } else if (kind === idDelta) {
    base = bytes.subarray(at, at + idBytes);
    at += idBytes;
    if (base.length < idBytes) throw ended();
  }
  return { kind, size, head: at, base };
}
