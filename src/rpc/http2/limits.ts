import { Bucket } from '../limits/bucket.js';

/** What one server, one connection and one call may take. */
export type RpcLimits = {
  /** Connections at a time; one more is closed at once. */
  readonly maxConnections: number;
  /** Calls at a time on one connection; the client keeps more to itself until others have ended. */
  readonly maxStreams: number;
  /** Calls that a connection may reset at once; as many become free again in ten seconds. One more ends the connection. */
  readonly maxResets: number;
  /** The same of calls that are refused by a limit, or because nothing proves who makes them. */
  readonly maxRefusals: number;
  /** Calls of one connection that are begun in one turn of the event loop; more wait until those of others were begun. */
  readonly maxCallsInTurn: number;
  /** Milliseconds until a client must speak HTTP/2. */
  readonly handshakeMs: number;
  /** Milliseconds between two questions whether a client is there, and for its answer. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Milliseconds that a connection may be without calls; 0 for any. */
  readonly maxIdleMs: number;
  /** Milliseconds after which a connection takes no new calls, 0 for never, and how many more those under way may take. */
  readonly maxAgeMs: number;
  readonly ageGraceMs: number;
  /** Bytes of the headers of one call, each with 32 more, as HTTP/2 counts them. */
  readonly maxHeaderBytes: number;
  /** Bytes of one message to the server. */
  readonly maxRequestBytes: number;
};

/** In how many seconds all resets that a connection may do become free again. */
const refill = 10;

/** A count of what may happen. */
export type Allowance = {
  /** Counts one more; false if that is one too many. */
  spend(): boolean;
};

/** A count of what may happen `most` times at once, and no more than that in ten seconds thereafter. */
export function allowance(most: number, monotonic: () => number): Allowance {
  const bucket = new Bucket({ perSecond: most / refill, burst: most }, monotonic());
  return { spend: () => bucket.take(monotonic()) === 0 };
}
