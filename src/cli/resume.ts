import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CallError } from '../rpc/call-error.js';

/** Longest time without a server that a stream is reopened through, in milliseconds. */
const patienceMs = 60_000;

/**
 * The messages of a stream that is opened again when the connection breaks, as it does when a server restarts. `open` must go on
 * where the messages so far end. A stream that gave nothing yet is not reopened: then the server is probably not there.
 * @throws CallError of the last try when the server stays away for a minute, and any other error of the stream
 */
export async function* resumed<T>(open: () => AsyncIterable<T>): AsyncGenerator<T> {
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
      if (!gone || waited < 0 || waited > patienceMs) throw error;
      await sleep(pause);
      waited += pause;
      pause = Math.min(pause * 2, 5_000);
    }
  }
}
