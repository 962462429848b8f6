import { MemoirError } from '../domain/errors.js';
import { WrongExpectedRevision } from '../eventstore/port.js';

/** How often what is to be appended is decided again after others appended to the same stream meanwhile. */
export const maxAttempts = 20;

/** Others were faster each time. `what` tells what they do, as "others order exclusions". */
export function contended(what: string): MemoirError {
  return new MemoirError('ABORTED', 'CONTENTION', `${what} all the time; try again`);
}

/**
 * Decides and appends, and that again where others appended to the stream meanwhile.
 * @param what - others do, should they be faster each time
 * @throws MemoirError ABORTED CONTENTION then; what else `attempt` throws
 */
export async function decidedAgain<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (let i = 0; i < maxAttempts; i++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
  }
  throw contended(what);
}
