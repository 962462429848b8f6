import { createHash } from 'node:crypto';
import test from 'ava';
import { createCommitGraph } from '../../../src/git/graph/commit-graph.js';
import { addRow, createCommitTable, parentsOf, setParents } from '../../../src/git/graph/commit-table.js';
import { makeResident } from '../../../src/git/graph/resident-graph.js';
import { computeTopology } from '../../../src/git/graph/topology.js';
import { sha1, sha256 } from '../../../src/git/hash.js';

/** Ids of which many have the same first bytes, some all but the last. */
function collidingIds(hex: 40 | 64): string[] {
  const ids = new Set<string>();
  for (let i = 0; i < 3_000; i++) {
    const random = createHash('sha256').update(String(i)).digest('hex');
    const shared = [0, 4, 8, 12, 13, hex - 2][i % 6] ?? 0;
    ids.add('abcd'.repeat(16).slice(0, shared) + random.slice(0, hex - shared));
  }
  return [...ids];
}

for (const hash of [sha1, sha256]) {
  test(`finds every commit by its id and nothing else, however alike the ids are: ${hash.name}`, (t) => {
    const ids = collidingIds(hash.hex);
    const table = createCommitTable(hash, 16);
    for (const [i, id] of ids.entries()) {
      const row = addRow(table, Buffer.from(id, 'hex'));
      const parents = [i - 1, i - 7, i - 100].filter((parent) => parent >= 0).slice(0, i % 5);
      setParents(table, row, parents);
      t.deepEqual(parentsOf(table, row), parents);
      table.dates[row] = 1_000 - (i % 50);
    }
    const { order, levels, correctedDates } = computeTopology(table, (what) => new Error(what));
    const graph = createCommitGraph(makeResident(table, order));
    t.is(graph.count(), ids.length);
    for (const [row, id] of ids.entries()) {
      const number = graph.numberOf(id);
      t.is(graph.idOf(number), id);
      const parents: number[] = [];
      graph.eachParent(number, (parent) => parents.push(parent));
      t.deepEqual(
        parents,
        parentsOf(table, row).map((parent) => graph.numberOf(ids[parent] ?? '')),
      );
      t.is(graph.firstParent(number), parents[0] ?? -1);
      for (const parent of parents) t.true(parent < number);
      for (const parent of parentsOf(table, row)) {
        t.true((levels[parent] ?? 0) < (levels[row] ?? 0));
        t.true((correctedDates[parent] ?? 0) < (correctedDates[row] ?? 0));
      }
    }
    const [some = ''] = ids;
    for (const absent of [
      '',
      'x',
      some.slice(1),
      `${some}0`,
      some.toUpperCase(),
      `${some.slice(0, -1)}g`,
      `g${some.slice(1)}`,
      `\uffff${some.slice(1)}`,
      '0'.repeat(hash.hex),
      'f'.repeat(hash.hex),
    ]) {
      if (!ids.includes(absent)) t.is(graph.numberOf(absent), -1, absent);
    }
    const added = graph.add('e'.repeat(hash.hex), [graph.numberOf(some)]);
    t.is(graph.numberOf('e'.repeat(hash.hex)), added);
    t.is(graph.idOf(added), 'e'.repeat(hash.hex));
    t.is(graph.add('e'.repeat(hash.hex), []), added);
  });
}

test('commits that are their own ancestors, as only a corrupt file can have them, are refused', (t) => {
  const table = createCommitTable(sha1);
  const rows = ['a', 'b', 'c'].map((digit) => addRow(table, Buffer.from(digit.repeat(40), 'hex')));
  for (const row of rows) setParents(table, row, [(row + 1) % 3]);
  t.throws(() => computeTopology(table, (what) => new Error(what)), { message: /their own ancestors/ });
});
