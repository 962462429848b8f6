import type { HashAlgorithm } from '../hash.js';
import type { PagedFile } from './paged-file.js';

/** Object ids in ascending order inside a file, with a fan-out table by the first byte; the form that git's indexes share. */
export type IdTable = {
  readonly count: number;
  /** Place of an id (raw bytes) in the table, or -1. */
  find(id: Buffer): number;
  /** The same, for walks through a history: after many, the beginnings of all ids are kept in memory, of a table that is not too large for that. */
  findOften(id: Buffer): number;
  /** The first place whose id is not below the given bytes, which may be fewer than an id has. */
  lowerBound(prefix: Buffer): number;
  /** The id at a place. */
  at(place: number): Buffer;
};

/** Guesses before the rest is bisected, so that ids that somebody chose to be alike do not take long. */
const mostGuesses = 5;

/** So many are looked for before the beginnings of all ids are kept, for which all of them are read: this part of all, and no fewer. */
const partLookedFor = 1 / 64;
const fewestLookedFor = 1_000;

/** Most ids whose beginnings are kept, of four bytes each. */
const mostKept = 8 * 1024 * 1024;

/** Ids that are read at once for that. */
const readAtOnce = 16 * 1024;

/**
 * The table of ids at `idsAt`, `stride` bytes from one to the next, with its fan-out table at `fanoutAt`.
 * @param fail - makes the error to throw if the fan-out does not ascend
 */
export function openIdTable(
  file: PagedFile,
  { bytes }: HashAlgorithm,
  { fanoutAt, idsAt, stride = bytes }: { fanoutAt: number; idsAt: number; stride?: number },
  fail: (what: string) => Error,
): IdTable {
  const raw = file.read(fanoutAt, 1024);
  if (raw.length < 1024) throw fail('it ends within its fan-out table');
  const fanout = new Uint32Array(257);
  for (let i = 0; i < 256; i++) {
    const end = raw.readUInt32BE(i * 4);
    if (end < (fanout[i] ?? 0)) throw fail('its fan-out table does not ascend');
    fanout[i + 1] = end;
  }
  const count = fanout[256] ?? 0;

  const at = (place: number) => file.read(idsAt + place * stride, bytes);
  let lookedFor = 0;
  let beginnings: Uint32Array | undefined;

  /** The first four bytes of each id; of what the file lacks, zeros. */
  function readBeginnings(): Uint32Array {
    const keys = new Uint32Array(count);
    for (let first = 0; first < count; first += readAtOnce) {
      const rows = Math.min(readAtOnce, count - first);
      const read = file.read(idsAt + first * stride, rows * stride);
      for (let i = 0; i < rows && i * stride + 4 <= read.length; i++) keys[first + i] = read.readUInt32BE(i * stride);
    }
    return keys;
  }

  /**
   * The place of an id, or the first one whose id is not below the bytes. Ids are random, so that a place in proportion (interpolation search)
   * is close by, most often on the same page.
   */
  function search(prefix: Buffer, whole: boolean, keys?: Uint32Array): number {
    const first = prefix[0] ?? 0;
    let low = fanout[first] ?? 0;
    let high = fanout[first + 1] ?? 0;
    const key = prefix.length < 4 ? -1 : prefix.readUInt32BE(0);
    let lowKey = first * 2 ** 24;
    let highKey = lowKey + 2 ** 24;
    for (let tries = 0; low < high; tries++) {
      const part = key < 0 || tries >= mostGuesses ? 0.5 : Math.max(0, key - lowKey) / Math.max(1, highKey - lowKey);
      const middle = low + Math.min(high - low - 1, Math.floor(part * (high - low)));
      const found = keys ? (keys[middle] ?? 0) : key < 0 ? key : file.uint32(idsAt + middle * stride);
      const order = found === key ? file.compare(idsAt + middle * stride, prefix) : found - key;
      // An id is in the table once.
      if (order === 0 && whole) return middle;
      if (order < 0) {
        low = middle + 1;
        lowKey = found;
      } else {
        high = middle;
        highKey = found;
      }
    }
    return whole ? -1 : low;
  }

  return {
    count,
    at,
    lowerBound: (prefix) => search(prefix, false),
    find: (id) => search(id, true),
    findOften(id) {
      if (++lookedFor >= fewestLookedFor && lookedFor > count * partLookedFor && count <= mostKept) {
        beginnings ??= readBeginnings();
      }
      return search(id, true, beginnings);
    },
  };
}
