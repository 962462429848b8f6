import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CallError } from '../rpc/call-error.js';

/**
 * Whether a call may succeed when it is made again: the server is away, restarting or slow, something on the way gave the call up, or others
 * changed the same at the same time.
 */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof CallError)) return false;
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
    case status.ABORTED:
      return true;
    case status.RESOURCE_EXHAUSTED:
      // What is too large stays so.
      return error.reason !== 'MESSAGE_TOO_LARGE';
    default:
      return false;
  }
}

/**
 * Calls until the answer is not transient, with pauses that double from 0.2 s to 5 s.
 * @param attempt is given how many tries were made before, and why the last of them failed
 * @param signal ends it between tries, with the signal's reason as the error
 */
export async function retrying<T>(
  signal: AbortSignal,
  attempt: (before: number, why: string) => Promise<T>,
): Promise<T> {
  let why = '';
  for (let before = 0, pause = 200; ; before++, pause = Math.min(pause * 2, 5_000)) {
    signal.throwIfAborted();
    try {
      return await attempt(before, why);
    } catch (error) {
      if (!isTransient(error)) throw error;
      why = (error as Error).message;
    }
    await sleep(pause, undefined, { signal }).catch(() => {});
  }
}
