import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CallError } from '../../rpc/call-error.js';

/** How a stream is opened again. */
export type Patience = {
  /** Longest time without a server that a stream is reopened through, in milliseconds; a minute unless given. */
  readonly patienceMs?: number;
  /** Is told why whenever the connection breaks, before it is tried again. */
  readonly onBroken?: (error: CallError) => void;
  /** Ends the waiting for the next try. */
  readonly signal?: AbortSignal;
};

/**
 * The messages of a stream that is opened again when the connection breaks, as it does when a server restarts. `open` must go on
 * where the messages so far end. A stream that gave nothing yet is not reopened: then the server is probably not there.
 * @throws CallError of the last try when the server stays away for too long or the signal aborts, and any other error of the stream
 */
export async function* resumed<T>(
  open: () => AsyncIterable<T>,
  { patienceMs = 60_000, onBroken, signal }: Patience = {},
): AsyncGenerator<T> {
  let waited = -1;
  let pause = 0;
  for (;;) {
    try {
      for await (const message of open()) {
        waited = 0;
        pause = 250;
        yield message;
      }
      return;
    } catch (error) {
      const gone = error instanceof CallError && error.code === status.UNAVAILABLE;
      if (!gone || waited < 0 || waited > patienceMs || signal?.aborted) throw error;
      if (waited === 0) onBroken?.(error);
      await sleep(pause, undefined, signal && { signal }).catch(() => undefined);
      if (signal?.aborted) throw error;
      waited += pause;
      pause = Math.min(pause * 2, 5_000);
    }
  }
}
