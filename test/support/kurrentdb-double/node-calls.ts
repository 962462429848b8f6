import type { Faults } from './faults.js';
import type { MemoryLog } from './log.js';
import type { Modes } from './modes.js';

/** Where a node listens. */
export type Endpoint = { readonly host: string; readonly port: number };

/** What the calls of a node work with. */
export type Node = {
  readonly log: MemoryLog;
  readonly faults: Faults;
  readonly modes: Modes;
  /** Most bytes of an append, as `MaxAppendSize`. */
  readonly maxAppendSize: number;
  isLeader(): boolean;
  leader(): Endpoint;
  /** Whether the leader is there, so that a follower can pass writes on to it. */
  leaderAnswers(): boolean;
  /** Takes note of writes that are not to show before the majority is back. */
  hide(show: () => void): void;
  /** Cuts every connection to the node, as a broken network does. */
  dropConnections(): void;
  /** Told whenever a subscription has been told that it has caught up. */
  onCaughtUp(): void;
  /** Told whenever a client has said that it sends no more appends by a call. */
  onHalfClosed(): void;
  /** How often all subscriptions of that moment were made silent. */
  silences(): number;
  /** Whether a subscription that goes from one position to the next hangs there for ever. */
  hangsBetween(from: number, to: number): boolean;
};
