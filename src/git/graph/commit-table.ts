import type { HashAlgorithm } from '../hash.js';

/** Commits in the order in which they were added, each with what git's commit-graph keeps of it. */
export type CommitTable = {
  readonly hash: HashAlgorithm;
  count: number;
  /** Raw ids, one after another. */
  ids: Buffer;
  /** Raw ids of the trees; empty in a table without them. */
  trees: Buffer;
  /** Row of the first parent, or -1. */
  firstParent: Int32Array;
  /** Row of the second parent, or -1, or -2 - i where `moreParents[i]` begins a list of the second and further ones. */
  secondParent: Int32Array;
  /** Rows of parents from the second on, the last of a list as -1 - row. */
  moreParents: number[];
  /** Commit time in seconds. */
  dates: Float64Array;
  /** Open-addressing index of `ids`: row + 1, or 0 for a free place. */
  index: Uint32Array;
};

/** Rows that a fresh table has room for. */
const initialRows = 1024;

/** An empty table with room for so many commits, and for their trees unless these are not wanted. */
export function createCommitTable(hash: HashAlgorithm, room = initialRows, withTrees = true): CommitTable {
  const rows = Math.max(room, 16);
  return {
    hash,
    count: 0,
    ids: Buffer.alloc(rows * hash.bytes),
    trees: Buffer.alloc(withTrees ? rows * hash.bytes : 0),
    firstParent: new Int32Array(rows).fill(-1),
    secondParent: new Int32Array(rows).fill(-1),
    moreParents: [],
    dates: new Float64Array(rows),
    index: new Uint32Array(2 ** Math.ceil(Math.log2(rows * 2))),
  };
}

/** Row of the commit whose raw id begins at `at` of the bytes, or -1. */
export function findRow(table: CommitTable, bytes: Buffer, at = 0): number {
  return (table.index[slotOf(table, bytes, at)] ?? 0) - 1;
}

/** Row of the commit whose raw id begins at `at` of the bytes; it is added, without parents yet, if it is not there. */
export function addRow(table: CommitTable, bytes: Buffer, at = 0): number {
  const slot = slotOf(table, bytes, at);
  const found = table.index[slot] ?? 0;
  if (found > 0) return found - 1;
  const { hash } = table;
  const row = table.count++;
  if (row >= table.dates.length) growRows(table);
  const start = row * hash.bytes;
  // Byte by byte, since a call of copy takes longer.
  for (let i = 0; i < hash.bytes; i++) table.ids[start + i] = bytes[at + i] ?? 0;
  table.index[slot] = row + 1;
  if (table.count * 2 > table.index.length) growIndex(table);
  return row;
}

/** Sets the parents of a row. */
export function setParents(table: CommitTable, row: number, parents: readonly number[]): void {
  table.firstParent[row] = parents[0] ?? -1;
  if (parents.length <= 2) {
    table.secondParent[row] = parents[1] ?? -1;
    return;
  }
  table.secondParent[row] = -2 - table.moreParents.length;
  for (let i = 1; i < parents.length; i++) {
    const parent = parents[i] ?? 0;
    table.moreParents.push(i === parents.length - 1 ? -1 - parent : parent);
  }
}

/** Rows of the parents of a row. */
export function parentsOf(table: CommitTable, row: number): number[] {
  const first = table.firstParent[row] ?? -1;
  if (first < 0) return [];
  const second = table.secondParent[row] ?? -1;
  if (second === -1) return [first];
  if (second >= 0) return [first, second];
  const parents = [first];
  for (let i = -2 - second; ; i++) {
    const parent = table.moreParents[i] ?? -1;
    parents.push(parent < 0 ? -1 - parent : parent);
    if (parent < 0) return parents;
  }
}

/** Object ids are random already, so their first bytes serve as the hash; linear probing from there. */
function slotOf({ index, ids, hash }: CommitTable, bytes: Buffer, at: number): number {
  const mask = index.length - 1;
  let slot = bytes.readUInt32BE(at) & mask;
  for (;;) {
    const row = (index[slot] ?? 0) - 1;
    if (row < 0) return slot;
    const start = row * hash.bytes;
    let same = 0;
    while (same < hash.bytes && bytes[at + same] === ids[start + same]) same++;
    if (same === hash.bytes) return slot;
    slot = (slot + 1) & mask;
  }
}

function growRows(table: CommitTable): void {
  const rows = table.dates.length * 2;
  const { hash } = table;
  const bytes = (old: Buffer) => {
    const grown = Buffer.alloc(old.length === 0 ? 0 : rows * hash.bytes);
    old.copy(grown);
    return grown;
  };
  const numbers = (old: Int32Array) => {
    const grown = new Int32Array(rows).fill(-1);
    grown.set(old);
    return grown;
  };
  table.ids = bytes(table.ids);
  table.trees = bytes(table.trees);
  table.firstParent = numbers(table.firstParent);
  table.secondParent = numbers(table.secondParent);
  const dates = new Float64Array(rows);
  dates.set(table.dates);
  table.dates = dates;
}

function growIndex(table: CommitTable): void {
  const { hash, ids } = table;
  const index = new Uint32Array(table.index.length * 2);
  const mask = index.length - 1;
  for (const entry of table.index) {
    if (entry === 0) continue;
    let slot = ids.readUInt32BE((entry - 1) * hash.bytes) & mask;
    while (index[slot] !== 0) slot = (slot + 1) & mask;
    index[slot] = entry;
  }
  table.index = index;
}
