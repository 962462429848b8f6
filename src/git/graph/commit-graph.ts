import type { ResidentGraph } from './resident-graph.js';

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
};

/** Makes a graph that begins with what was loaded. */
export function createCommitGraph(base: ResidentGraph): CommitGraph {
  const { count, idBytes, ids, fanout, numberAt, placeOf, firstParent, secondParent, moreParents } = base;
  const hexDigits = idBytes * 2;
  const view = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
  const laterNumbers = new Map<string, number>();
  const laterIds: string[] = [];
  const laterParents: (readonly number[])[] = [];

  function baseNumber(id: string): number {
    const first = Number.parseInt(id.slice(0, 4), 16);
    let low = fanout[first] ?? 0;
    let high = fanout[first + 1] ?? 0;
    const key = Number.parseInt(id.slice(4, 12), 16);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = view.readUInt32BE(middle * idBytes + 2);
      if (found < key) low = middle + 1;
      else if (found > key) high = middle;
      else return searchEqual(id, key, middle, low, high);
    }
    return -1;
  }

  /** Six equal bytes are equal ids, but for an attacker's; then the places around are looked at one by one. */
  function searchEqual(id: string, key: number, middle: number, low: number, high: number): number {
    for (const step of [-1, 1]) {
      for (let place = step < 0 ? middle : middle + 1; place >= low && place < high; place += step) {
        if (view.readUInt32BE(place * idBytes + 2) !== key) break;
        if (hexAt(place) === id) return numberAt[place] ?? -1;
      }
    }
    return -1;
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
