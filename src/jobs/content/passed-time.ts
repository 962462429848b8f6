import type { Edge } from '../../edge.js';

/** How far the wall clock may be ahead of what passed before that is told, in milliseconds. */
export const toldAhead = 3_600_000;

/** A time that a jump of the wall clock does not bring forward. */
export type PassedTime = {
  /** Milliseconds since 1970-01-01T00:00Z: that of the wall clock, and never more than passed since the process began to look. */
  now(): number;
  /** How far the wall clock is ahead of that, in milliseconds. */
  ahead(): number;
};

/**
 * Begins to look. What takes things away by their age goes by this time: a clock that is set years ahead makes nothing old. One that was wrong
 * when the process began is not noticed.
 */
export function passedTime(edge: Pick<Edge, 'now' | 'monotonic'>): PassedTime {
  const begun = { wall: edge.now(), monotonic: edge.monotonic() };
  const latest = () => begun.wall + (edge.monotonic() - begun.monotonic);
  return {
    now: () => Math.min(edge.now(), latest()),
    ahead: () => Math.max(0, edge.now() - latest()),
  };
}
