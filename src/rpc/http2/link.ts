import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Allowance } from './limits.js';
import type { Connection } from './seam.js';

/** A call that waits for its turn. */
export type WaitingCall = { readonly stream: ServerHttp2Stream; readonly begin: () => void };

/** One connection of a client, from its socket on. */
export type Link = {
  readonly socket: Socket;
  /** Address that it is from. */
  readonly address: string;
  /** Times of the monotonic clock: when it came, and when its last call had ended where none is under way. */
  readonly since: number;
  lastCall: number;
  /** What speaks HTTP/2 over it, once it does. */
  session: Connection | undefined;
  /** Calls under way. */
  calls: number;
  /** The last turn of the event loop in which calls of it were begun, how many were, and those that wait. */
  turn: number;
  begun: number;
  waiting: WaitingCall[];
  readonly resets: Allowance;
  readonly refusals: Allowance;
};
