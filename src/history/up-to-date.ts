import type { Follower } from '../../projections/running/follower.js';
import { MemoirError } from '../domain/errors.js';
import type { Position } from '../eventstore/port.js';

/** Longest wait for a thread that follows the log, in milliseconds; it is behind by a few unless it has just been started. */
const longestWait = 10_000;

/**
 * Resolves when a thread that follows the log has come to a position of the log.
 * @throws MemoirError UNAVAILABLE with the progress if it does not in 10 s, if the signal aborts first, or if it cannot follow the log
 */
export async function upToDate(follower: Follower, wanted: Position, signal?: AbortSignal): Promise<void> {
  if (wanted <= follower.position()) return;
  const { trouble } = follower.progress();
  if (trouble !== undefined) throw unavailable(follower, trouble);
  const late = AbortSignal.timeout(longestWait);
  try {
    await follower.waitFor(wanted, signal ? AbortSignal.any([signal, late]) : late);
  } catch (error) {
    if (!late.aborted) throw error;
    const { position, end, failure } = follower.progress();
    const why = failure === undefined ? '' : `; it cannot go on: ${failure}`;
    const message = `${follower.name} is being brought up to date: at position ${position} of about ${Math.max(end, wanted)}${why}`;
    throw new MemoirError('UNAVAILABLE', 'CATCHING_UP', message);
  }
}

function unavailable({ name, reason }: Follower, trouble: string): MemoirError {
  const message = `${name} cannot follow the log, so that it may miss what was recorded: ${trouble}`;
  return new MemoirError('UNAVAILABLE', reason, message);
}
