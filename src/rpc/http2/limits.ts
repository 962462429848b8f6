/** What one server, one connection and one call may take. */
export type RpcLimits = {
  /** Connections at a time; one more is closed at once. */
  readonly maxConnections: number;
  /** Calls at a time on one connection; the client keeps more to itself until others have ended. */
  readonly maxStreams: number;
  /** Calls that a connection may reset at once; as many become free again in ten seconds. One more ends the connection. */
  readonly maxResets: number;
  /** Bytes of the headers of one call, each with 32 more, as HTTP/2 counts them. */
  readonly maxHeaderBytes: number;
  /** Bytes of one message to the server. */
  readonly maxRequestBytes: number;
};

/** In how many milliseconds all resets that a connection may do become free again. */
const refill = 10_000;

/** A count of what may happen `most` times at once, and no more than that in ten seconds thereafter (a token bucket). */
export function allowance(most: number, monotonic: () => number): { spend(): boolean } {
  let left = most;
  let at = monotonic();
  return {
    spend() {
      const now = monotonic();
      left = Math.min(most, left + ((now - at) / refill) * most);
      at = now;
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
