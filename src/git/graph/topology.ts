import { type CommitTable, parentsOf } from './commit-table.js';
import { sortByDate } from './sort-by-date.js';

/** Numbers that git's commit-graph derives from the shape of history, by row of the table. */
export type Topology = {
  /** Topological level: 1 for a commit without parents, else one more than the highest of the parents'. */
  readonly levels: Uint32Array;
  /** Corrected commit date (generation number v2): the date, or one more than the highest of the parents'. */
  readonly correctedDates: Float64Array;
  /** Rows in an order in which every commit comes after its parents, by corrected date. */
  readonly order: Uint32Array;
};

/**
 * Levels, corrected dates and a topological order (gitformat-commit-graph(5)).
 * @param fail - makes the error to throw if commits are their own ancestors, which only a corrupt file can say
 */
export function computeTopology(table: CommitTable, fail: (what: string) => Error): Topology {
  const { count } = table;
  const levels = new Uint32Array(count);
  const correctedDates = new Float64Array(count);
  for (const row of parentsFirst(table, fail)) {
    let level = 0;
    // Like git, none is below 1, which is how its own check tells a date from none.
    let date = Math.max((table.dates[row] ?? 0) - 1, 0);
    for (const parent of parentsOf(table, row)) {
      level = Math.max(level, levels[parent] ?? 0);
      date = Math.max(date, correctedDates[parent] ?? 0);
    }
    levels[row] = level + 1;
    correctedDates[row] = date + 1;
  }
  return { levels, correctedDates, order: sortByDate(correctedDates) };
}

/** Kahn's algorithm: a commit is taken once all of its parents are. */
function parentsFirst(table: CommitTable, fail: (what: string) => Error): Uint32Array {
  const { count } = table;
  const waitingFor = new Uint32Array(count);
  const childrenStart = new Uint32Array(count + 1);
  let edges = 0;
  for (let row = 0; row < count; row++) {
    for (const parent of parentsOf(table, row)) {
      if (parent >= count) throw fail(`it has no commit number ${parent}`);
      childrenStart[parent + 1] = (childrenStart[parent + 1] ?? 0) + 1;
      waitingFor[row] = (waitingFor[row] ?? 0) + 1;
      edges++;
    }
  }
  for (let row = 0; row < count; row++)
    childrenStart[row + 1] = (childrenStart[row + 1] ?? 0) + (childrenStart[row] ?? 0);
  const children = new Uint32Array(edges);
  const filled = childrenStart.slice();
  for (let row = 0; row < count; row++) {
    for (const parent of parentsOf(table, row)) {
      const at = filled[parent] ?? 0;
      children[at] = row;
      filled[parent] = at + 1;
    }
  }
  const order = new Uint32Array(count);
  let ready = 0;
  for (let row = 0; row < count; row++) if (waitingFor[row] === 0) order[ready++] = row;
  for (let taken = 0; taken < ready; taken++) {
    const row = order[taken] ?? 0;
    const end = childrenStart[row + 1] ?? 0;
    for (let at = childrenStart[row] ?? 0; at < end; at++) {
      const child = children[at] ?? 0;
      const left = (waitingFor[child] ?? 0) - 1;
      waitingFor[child] = left;
      if (left === 0) order[ready++] = child;
    }
  }
  if (ready < count) throw fail('it has commits that are their own ancestors');
  return order;
}
