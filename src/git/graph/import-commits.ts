import type { Layout } from '../layout.js';
import { parseCommit } from '../objects/commit.js';
import type { ObjectStore } from '../objects/object-store.js';
import { damaged } from '../problem.js';
import { addRow, type CommitTable, setParents } from './commit-table.js';

/**
 * Adds commits and everything that they reach to a table that is closed under ancestry. Each commit object is read once.
 * @param starts - commits that the repository must have
 * @param onRead - called with the number of commits read so far, after each of them
 * @throws MemoirError DATA_LOSS if an object is missing or damaged
 */
export function importCommits(
  layout: Layout,
  objects: ObjectStore,
  table: CommitTable,
  starts: readonly string[],
  onRead: (read: number) => void,
): void {
  const { name, hash } = layout;
  const first = table.count;
  const id = Buffer.alloc(hash.bytes);
  let row = first;
  // One start after another: what it reaches lies close together in a pack, and then most others are there already.
  for (const start of starts) {
    addRow(table, Buffer.from(start, 'hex'));
    for (; row < table.count; row++) {
      readRow(row);
      onRead(row + 1 - first);
    }
  }

  function readRow(row: number): void {
    table.ids.copy(id, 0, row * hash.bytes, (row + 1) * hash.bytes);
    const object = objects.readFleeting(id);
    if (object?.type !== 'commit') {
      throw damaged(name, `commit ${id.toString('hex')} is ${object ? `a ${object.type}` : 'missing'}`);
    }
    const commit = parseCommit(object.data, hash.hex, (what) => damaged(name, `object ${id.toString('hex')}: ${what}`));
    const parents = commit.parents.map((parent) => addRow(table, Buffer.from(parent, 'hex')));
    setParents(table, row, parents);
    table.dates[row] = commit.date;
    table.trees.write(commit.tree, row * hash.bytes, 'hex');
  }
}
