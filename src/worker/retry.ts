import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CallError } from '../rpc/call-error.js';

/** Whether a call may succeed when it is made again: the server is away, restarting or slow. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof CallError &&
    (error.code === status.UNAVAILABLE ||
      error.code === status.DEADLINE_EXCEEDED ||
      error.code === status.RESOURCE_EXHAUSTED)
  );
}

/**
 * Calls until the answer is not transient, with pauses that double from 0.2 s to 5 s.
 * @param attempt is given how many tries were made before
 * @param signal ends it between tries, with the signal's reason as the error
 */
export async function retrying<T>(signal: AbortSignal, attempt: (before: number) => Promise<T>): Promise<T> {
  for (let before = 0, pause = 200; ; before++, pause = Math.min(pause * 2, 5_000)) {
    signal.throwIfAborted();
    try {
      return await attempt(before);
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
    await sleep(pause, undefined, { signal }).catch(() => {});
  }
}
