import { setTimeout as delay } from 'node:timers/promises';
import { CallError } from './call-error.js';

/** Reasons by which a call is refused at the door, before anything was done for it, because its caller takes too much. */
const limitReasons: ReadonlySet<string> = new Set([
  'TOO_MANY_CALLS',
  'TOO_MANY_REPORTS',
  'TOO_MANY_STREAMS',
  'TOO_MANY_LISTS',
  'TOO_MANY_BYTES',
]);

/** How long a call without a deadline is made again, in milliseconds. */
const longestPatience = 60_000;

/** How long is waited where the server does not say, in milliseconds. */
const usualPause = 1_000;

/** What says when to give up. */
type Until = { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined };

/**
 * Waits as long as a server that refused a call for a limit of its caller says.
 * @param error that the call ended with
 * @param since when it was made first, by `Date.now()`
 * @throws the error, if it is another one, or there is no time left for another try
 */
export async function waitToComeAgain(error: unknown, since: number, { timeoutMs, signal }: Until): Promise<void> {
  if (!(error instanceof CallError && limitReasons.has(error.reason))) throw error;
  const pause = error.retryAfterMs ?? usualPause;
  if (Date.now() + pause >= since + (timeoutMs ?? longestPatience)) throw error;
  await delay(pause, undefined, signal && { signal }).catch(() => {
    throw error;
  });
}
