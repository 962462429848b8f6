import { randomUUID } from 'node:crypto';

/** What a running process takes from the world around it. Everything else is a function of its input. */
export type Edge = {
  /** Wall-clock time in milliseconds since 1970-01-01T00:00Z. May jump. */
  now(): number;
  /** Time in milliseconds from an arbitrary start. Never goes back, never jumps with the wall clock. */
  monotonic(): number;
  /** A new random UUID in lower case. */
  uuid(): string;
  /** A random number from 0 to below 1. */
  random(): number;
};

/** The edge of a real process. */
export const systemEdge: Edge = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  uuid: () => randomUUID(),
  random: () => Math.random(),
};
