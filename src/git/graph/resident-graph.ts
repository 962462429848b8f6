import { type CommitTable, parentsOf } from './commit-table.js';
import { sortIds } from './sort-ids.js';

/**
 * A history in typed arrays: 36 bytes a commit with SHA-1. Commits are numbered by ascending corrected commit date (generation
 * number v2), so that every commit has a higher number than its parents: the number itself is the generation cut-off.
 *
 * The arrays are shared memory: the thread that made them hands them over without a copy, and to the garbage collector of the
 * thread that answers calls they are no reason to hurry, as large memory of its own would be.
 */
export type ResidentGraph = {
  readonly count: number;
  /** Bytes of an id. */
  readonly idBytes: number;
  /** Raw ids in ascending order. */
  readonly ids: Uint8Array;
  /** For each two first bytes of an id, the first place in `ids`; one more at the end. */
  readonly fanout: Uint32Array;
  /** Number of the commit whose id is at a place of `ids`. */
  readonly numberAt: Uint32Array;
  /** Place in `ids` of the id of a commit. */
  readonly placeOf: Uint32Array;
  /** Number of the first parent, or -1. */
  readonly firstParent: Int32Array;
  /** Number of the second parent, or -1, or -2 - i where `moreParents[i]` begins a list of the second and further ones. */
  readonly secondParent: Int32Array;
  /** Numbers of parents from the second on, the last of a list as -1 - number. */
  readonly moreParents: Int32Array;
};

/** The resident form of a table, of whose rows `order` gives the new numbers. */
export function makeResident(table: CommitTable, order: Uint32Array): ResidentGraph {
  const { count } = table;
  const width = table.hash.bytes;
  const numberOf = new Uint32Array(count);
  for (let number = 0; number < count; number++) numberOf[order[number] ?? 0] = number;

  const places = placesById(table.ids, width, numberOf);
  const firstParent = sharedInt32(count);
  const secondParent = sharedInt32(count);
  const more: number[] = [];
  for (let number = 0; number < count; number++) {
    const row = order[number] ?? 0;
    const first = table.firstParent[row] ?? -1;
    const second = table.secondParent[row] ?? -1;
    firstParent[number] = first < 0 ? -1 : (numberOf[first] ?? 0);
    secondParent[number] = second < 0 ? second : (numberOf[second] ?? 0);
    if (second >= -1) continue;
    secondParent[number] = -2 - more.length;
    const rest = parentsOf(table, row).slice(1);
    for (const [i, parent] of rest.entries()) {
      const to = numberOf[parent] ?? 0;
      more.push(i === rest.length - 1 ? -1 - to : to);
    }
  }
  const moreParents = sharedInt32(more.length);
  moreParents.set(more);
  const fanout = fanoutOf(places.ids, width);
  return { count, idBytes: width, ...places, fanout, firstParent, secondParent, moreParents };
}

/** Where the ids of a history are, and of which commits they are. */
export type Places = Pick<ResidentGraph, 'ids' | 'numberAt' | 'placeOf'>;

/** Puts ids in order: those of rows in whatever order, whose commits have the numbers `numberOf`. */
export function placesById(unsorted: Buffer, width: number, numberOf: Uint32Array): Places {
  const count = numberOf.length;
  const sorted = sortIds(unsorted, count, width);
  const ids = sharedBytes(count * width);
  const numberAt = sharedUint32(count);
  const placeOf = sharedUint32(count);
  for (let place = 0; place < count; place++) {
    const row = sorted[place] ?? 0;
    const number = numberOf[row] ?? 0;
    unsorted.copy(ids, place * width, row * width, (row + 1) * width);
    numberAt[place] = number;
    placeOf[number] = place;
  }
  return { ids, numberAt, placeOf };
}

/** The fan-out table of ids in ascending order. */
export function fanoutOf(ids: Uint8Array, idBytes: number): Uint32Array {
  const fanout = sharedUint32(65_537);
  for (let at = 0; at < ids.length; at += idBytes) {
    const next = (((ids[at] ?? 0) << 8) | (ids[at + 1] ?? 0)) + 1;
    fanout[next] = (fanout[next] ?? 0) + 1;
  }
  for (let i = 0; i < 65_536; i++) fanout[i + 1] = (fanout[i + 1] ?? 0) + (fanout[i] ?? 0);
  return fanout;
}

/** Bytes of memory that a graph takes. */
export function residentBytes(graph: ResidentGraph): number {
  const { ids, fanout, numberAt, placeOf, firstParent, secondParent, moreParents } = graph;
  return [ids, fanout, numberAt, placeOf, firstParent, secondParent, moreParents].reduce(
    (sum, { byteLength }) => sum + byteLength,
    0,
  );
}

/** Bytes, all zero, of shared memory. */
export function sharedBytes(length: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(length));
}

/** Numbers, all zero, in shared memory. */
export function sharedUint32(length: number): Uint32Array {
  return new Uint32Array(new SharedArrayBuffer(length * 4));
}

/** Numbers, all zero, in shared memory. */
export function sharedInt32(length: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(length * 4));
}
