import type { Edge } from '../../edge.js';

/** How patient the adapter is. All in milliseconds. */
export type KurrentTimings = {
  /** How long one answer may take before its connection is given up. */
  readonly answerTimeout: number;
  /** How long a call is tried again before it fails. */
  readonly patience: number;
  /** How long a subscription may hear nothing before it is compared with the end of the log. */
  readonly stallAfter: number;
  /** How long nodes may take to show that they are there, before it is told that they do not. */
  readonly longestLook: number;
  /** How long trouble like one that was told is only counted. */
  readonly repeatAfter: number;
  /** How long a log may seem to be another before it is refused: a node that was cut off and leads no more knows it by then. */
  readonly doubtFor: number;
  /** First and longest pause between two attempts. */
  readonly firstPause: number;
  readonly longestPause: number;
};

/** The timings of a server. */
export const defaultTimings: KurrentTimings = {
  answerTimeout: 10_000,
  patience: 20_000,
  stallAfter: 15_000,
  longestLook: 800,
  repeatAfter: 60_000,
  doubtFor: 2_000,
  firstPause: 50,
  longestPause: 5_000,
};

/** What the adapter takes from its surroundings. */
export type KurrentOptions = {
  readonly edge: Pick<Edge, 'monotonic' | 'uuid'>;
  readonly timings?: Partial<KurrentTimings>;
  /** Whether a store that is away before its first use is waited for no longer than to find out why. */
  readonly hasty?: boolean;
  /** Told in words about failures that are tried again, without credentials. */
  readonly onTrouble?: (message: string) => void;
};
