import type { CommitGraph } from './commit-graph.js';

/** Numbers of the commits that are reachable from one and not from another, as one bit each. */
export type CommitSet = {
  /** The lowest number that has a bit. */
  readonly lowest: number;
  readonly bits: Uint8Array;
  /** Commits in the set. */
  readonly size: number;
};

const fromTip = 1;
const fromBase = 2;

/** Commits looked at between two chances to give way. */
const stride = 4_096;

/**
 * The commits of `base..tip`: reachable from `tip` and not from `base`, as `git rev-list` has it. Both are painted downwards in
 * one pass over the numbers, from the higher one until nothing is left that only `tip` reaches (git's `paint_down_to_common`,
 * where the numbering takes the place of its priority queue).
 * @param base - number of a commit, or -1 for none
 */
export function* computeRange(graph: CommitGraph, tip: number, base: number): Generator<undefined, CommitSet> {
  const top = Math.max(tip, base);
  const paint = new Uint8Array(top + 1);
  let open = 0;
  let colour = 0;
  const visit = (number: number) => {
    const before = paint[number] ?? 0;
    const after = before | colour;
    if (after === before) return;
    paint[number] = after;
    if (after === fromTip) open++;
    else if (before === fromTip) open--;
  };
  colour = fromTip;
  visit(tip);
  colour = fromBase;
  if (base >= 0) visit(base);
  let size = 0;
  let lowest = top;
  for (let number = top; number >= 0 && open > 0; number--) {
    colour = paint[number] ?? 0;
    if (colour !== 0) {
      if (colour === fromTip) {
        open--;
        size++;
        lowest = number;
      }
      graph.eachParent(number, visit);
    }
    if (number % stride === 0) yield;
  }
  return yield* pack(paint, lowest, size);
}

function* pack(paint: Uint8Array, lowest: number, size: number): Generator<undefined, CommitSet> {
  if (size === 0) return { lowest: 0, bits: new Uint8Array(0), size };
  const bits = new Uint8Array(Math.ceil((paint.length - lowest) / 8));
  for (let number = lowest; number < paint.length; number++) {
    if (paint[number] === fromTip) {
      const at = number - lowest;
      bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
    }
    if (number % stride === 0) yield;
  }
  return { lowest, bits, size };
}

/** Whether the set has a commit. */
export function includes({ lowest, bits }: CommitSet, number: number): boolean {
  const at = number - lowest;
  return at >= 0 && ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
}

/** The numbers of a set, from the highest to the lowest. */
export function* descending({ lowest, bits }: CommitSet): Generator<number> {
  for (let byte = bits.length - 1; byte >= 0; byte--) {
    const value = bits[byte] ?? 0;
    if (value === 0) continue;
    for (let bit = 7; bit >= 0; bit--) if (value & (1 << bit)) yield lowest + byte * 8 + bit;
  }
}
