import type { CommitGraph } from './commit-graph.js';

/** The commits that have one commit in their history, itself included, as one bit each. */
export type Descendants = {
  /** Takes in what was added to the graph; may be under way several times at once. */
  extend(): Generator<undefined, undefined>;
  /** Whether a commit, of those that were taken in, is among them. */
  has(number: number): boolean;
  /** Bytes of memory. */
  bytes(): number;
};

/** Commits looked at between two chances to give way. */
const stride = 4_096;

/**
 * Descendants of a commit in one upward pass: a commit has a higher number than its parents, so that when its turn comes it is
 * known of them. What is added later goes on where the pass ended.
 */
export function createDescendants(graph: CommitGraph, ancestor: number): Descendants {
  let bits = new Uint8Array(64);
  let next = ancestor;

  function has(number: number): boolean {
    const at = number - ancestor;
    return at >= 0 && ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
  }

  function add(number: number): void {
    const at = number - ancestor;
    bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
  }

  function grow(): void {
    const needed = (graph.count() - ancestor + 7) >> 3;
    if (needed <= bits.length) return;
    const grown = new Uint8Array(Math.max(needed, Math.ceil(bits.length * 1.25)));
    grown.set(bits);
    bits = grown;
  }

  let among = false;
  const visit = (parent: number) => {
    among ||= has(parent);
  };

  return {
    *extend(): Generator<undefined, undefined> {
      for (; next < graph.count(); next++) {
        if ((next - ancestor) % stride === stride - 1) yield;
        grow();
        among = next === ancestor;
        if (!among) graph.eachParent(next, visit);
        if (among) add(next);
      }
    },
    has,
    bytes: () => bits.length,
  };
}
