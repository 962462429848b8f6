import TinyQueue from 'tinyqueue';
import { MemoirError } from '../../domain/errors.js';
import type { RangeFound } from '../graph/on-disk/range-in-layers.js';
import { sharedBytes, sharedUint32 } from '../graph/resident-graph.js';
import { sortIds } from '../graph/sort-ids.js';
import type { Commit } from '../objects/commit.js';

/** Reads a commit. @throws MemoirError DATA_LOSS if it is damaged or missing */
export type ReadCommit = (id: string) => Pick<Commit, 'parents' | 'date'>;

const fromTip = 1;
const fromBase = 2;

type Met = { readonly id: string; readonly parents: readonly string[]; readonly date: number; paint: number };
type Waiting = { readonly id: string; readonly date: number; readonly paint: number };

/**
 * The commits of `base..tip` from the objects, of a history of which something is damaged that has nothing to do with them: below what the base
 * reaches, where git too would not look, or would pass over it. All that the base reaches is gone through as far as it can be read, so that no
 * clock decides; what lies behind the damage is taken for older than the commits before it, as git does.
 * @throws MemoirError DATA_LOSS if what is damaged may have to do with the range
 */
export function* rangeBesideDamage(
  read: ReadCommit,
  tip: string,
  base: string,
  width: number,
): Generator<undefined, RangeFound> {
  const met = new Map<string, Met>();
  const queue = new TinyQueue<Waiting>([], (a, b) => b.date - a.date);
  /** Those that cannot be read; the youngest that a commit behind one can be, and what is wrong. */
  const unread = new Set<Met>();
  let behind: { readonly date: number; readonly error: unknown } | undefined;

  const push = (id: string, date: number, paint: number) => {
    const known = met.get(id);
    if (!known || (known.paint | paint) !== known.paint) queue.push({ id, date: known?.date ?? date, paint });
  };
  push(tip, Number.POSITIVE_INFINITY, fromTip);
  push(base, Number.POSITIVE_INFINITY, fromBase);
  for (let next = queue.pop(); next; next = queue.pop()) {
    yield;
    const { id, paint } = next;
    let one = met.get(id);
    if (one && (one.paint | paint) === one.paint) continue;
    if (!one) {
      try {
        one = { id, ...read(id), paint: 0 };
      } catch (error) {
        // What only the tip is known to reach may come to be painted by the base yet: it is met again then.
        if (!isDamage(error) || id === tip || id === base) throw error;
        one = { id, parents: [], date: next.date, paint: 0 };
        behind = { date: Math.max(behind?.date ?? Number.NEGATIVE_INFINITY, next.date), error };
        unread.add(one);
      }
      met.set(id, one);
    }
    one.paint |= paint;
    // The date of what cannot be read is at most that of the commit before it.
    for (const parent of one.parents) push(parent, one.date, one.paint);
  }
  const found = [...met.values()].filter((one) => one.paint === fromTip);
  if (behind && found.some((one) => unread.has(one) || one.date <= (behind?.date ?? 0))) throw behind.error;
  return packed(parentsLast(found), width);
}

function isDamage(error: unknown): boolean {
  return error instanceof MemoirError && error.code === 'DATA_LOSS';
}

/** Every commit before its parents, and otherwise the youngest first: Kahn's algorithm with a queue. */
function parentsLast(commits: readonly Met[]): string[] {
  const children = new Map<string, number>(commits.map(({ id }) => [id, 0]));
  for (const { parents } of commits) {
    for (const parent of parents) {
      const known = children.get(parent);
      if (known !== undefined) children.set(parent, known + 1);
    }
  }
  const byId = new Map(commits.map((one) => [one.id, one]));
  const ready = new TinyQueue(
    commits.filter(({ id }) => children.get(id) === 0),
    (a, b) => b.date - a.date,
  );
  const order: string[] = [];
  for (let next = ready.pop(); next; next = ready.pop()) {
    order.push(next.id);
    for (const parent of next.parents) {
      const left = (children.get(parent) ?? 0) - 1;
      children.set(parent, left);
      const one = left === 0 ? byId.get(parent) : undefined;
      if (one) ready.push(one);
    }
  }
  return order;
}

function packed(order: readonly string[], width: number): RangeFound {
  const size = order.length;
  const ids = sharedBytes(size * width);
  for (const [place, id] of order.entries()) ids.write(id, place * width, 'hex');
  const byId = sharedUint32(size);
  byId.set(sortIds(ids, size, width));
  return { size, ids, byId };
}
