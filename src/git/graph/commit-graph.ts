import { type ResidentGraph, residentBytes } from './resident-graph.js';

/**
 * The history of a repository as far as it was needed. Commits have numbers, higher than those of their parents; a commit that
 * is in it has all of its ancestors in it. It only grows, so a number once given stays.
 */
export type CommitGraph = {
  /** Commits in it. */
  count(): number;
  /** Commits that were added since it was loaded. */
  added(): number;
  /** Number of a commit by its id in lower-case hexadecimal digits, or -1. */
  numberOf(id: string): number;
  /** Id of a commit by its number. */
  idOf(number: number): string;
  /** Calls back with the number of each parent, the first one first. */
  eachParent(number: number, visit: (parent: number) => void): void;
  /** Number of the first parent, or -1. */
  firstParent(number: number): number;
  /** Adds a commit, if it is not there, whose parents are all there, and gives its number. */
  add(id: string, parents: readonly number[]): number;
  /** Bytes of memory, of what was added about. */
  bytes(): number;
};

/** What an added commit takes in memory, about: its id as text, its place in a map, its parents. */
const addedBytes = 250;

/** What a character that is no lower-case hexadecimal digit counts as: more than any number of digits that are compared. */
const noDigit = 2 ** 20;

const digitOf = new Uint32Array(128).fill(noDigit);
for (const [value, digit] of [...'0123456789abcdef'].entries()) digitOf[digit.charCodeAt(0)] = value;

/** The number that hexadecimal digits of a text give; one that no so many digits give if one of them is none. */
function hexAsNumber(text: string, start: number, end: number): number {
  let number = 0;
  for (let i = start; i < end; i++) number = number * 16 + (digitOf[text.charCodeAt(i)] ?? noDigit);
  return number;
}

/** Makes a graph that begins with what was loaded. */
export function createCommitGraph(base: ResidentGraph): CommitGraph {
  const { count, idBytes, ids, fanout, numberAt, placeOf, firstParent, secondParent, moreParents } = base;
  const hexDigits = idBytes * 2;
  const view = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
  const baseBytes = residentBytes(base);
  const laterNumbers = new Map<string, number>();
  const laterIds: string[] = [];
  const laterParents: (readonly number[])[] = [];

  function baseNumber(id: string): number {
    const first = hexAsNumber(id, 0, 4);
    let low = fanout[first] ?? 0;
    let high = fanout[first + 1] ?? 0;
    if (low >= high) return -1;
    const key = hexAsNumber(id, 4, 12);
    // Ids are random, so that the guess (interpolation search) is most often close by; from there in growing steps.
    let at = Math.min(high - 1, low + Math.floor((key / 2 ** 32) * (high - low)));
    for (let step = 1; low < high; step *= 2) {
      const order = keyAt(at) - key || compareRest(at, id);
      if (order === 0) return numberAt[at] ?? -1;
      if (order < 0) {
        low = at + 1;
        at = Math.min(at + step, (low + high) >>> 1);
      } else {
        high = at;
        at = Math.max(at - step, (low + high) >>> 1);
      }
    }
    return -1;
  }

  /** The third to sixth byte of the id at a place. */
  function keyAt(place: number): number {
    const at = place * idBytes;
    return (ids[at + 2] ?? 0) * 2 ** 24 + (((ids[at + 3] ?? 0) << 16) | ((ids[at + 4] ?? 0) << 8) | (ids[at + 5] ?? 0));
  }

  /** Negative, zero or positive as the id at a place is below, equal to or above another that has the same first six bytes. */
  function compareRest(place: number, id: string): number {
    const start = place * idBytes;
    for (let i = 6; i < idBytes; i++) {
      const difference = (ids[start + i] ?? 0) - hexAsNumber(id, i * 2, i * 2 + 2);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  const hexAt = (place: number) => view.toString('hex', place * idBytes, (place + 1) * idBytes);

  function numberOf(id: string): number {
    if (id.length !== hexDigits) return -1;
    const number = baseNumber(id);
    return number >= 0 ? number : (laterNumbers.get(id) ?? -1);
  }

  return {
    count: () => count + laterIds.length,
    added: () => laterIds.length,
    bytes: () => baseBytes + laterIds.length * addedBytes,
    numberOf,
    idOf: (number) => (number < count ? hexAt(placeOf[number] ?? 0) : (laterIds[number - count] ?? '')),
    eachParent(number, visit) {
      if (number >= count) {
        for (const parent of laterParents[number - count] ?? []) visit(parent);
        return;
      }
      const first = firstParent[number] ?? -1;
      if (first < 0) return;
      visit(first);
      const second = secondParent[number] ?? -1;
      if (second >= 0) visit(second);
      else if (second < -1) {
        for (let i = -2 - second; ; i++) {
          const parent = moreParents[i] ?? -1;
          visit(parent < 0 ? -1 - parent : parent);
          if (parent < 0) return;
        }
      }
    },
    firstParent: (number) => (number < count ? (firstParent[number] ?? -1) : (laterParents[number - count]?.[0] ?? -1)),
    add(id, parents) {
      const known = numberOf(id);
      if (known >= 0) return known;
      const number = count + laterIds.length;
      laterNumbers.set(id, number);
      laterIds.push(id);
      laterParents.push(parents);
      return number;
    },
  };
}
