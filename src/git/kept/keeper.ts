import { startThread, ThreadEnded } from '../../threads/thread.js';
import { threadOnDemand } from '../../threads/thread-on-demand.js';
import type { KeptCommit } from '../port.js';
import { unavailable } from '../problem.js';
import type { ToKeep } from './keep-commit.js';
import type { KeepThread } from './keep-thread.js';

/** The thread that keeps commits, seen from the thread that answers calls. */
export type Keeper = {
  /**
   * Keeps a commit for a job; see `keepCommit` for how it fails.
   * @param signal - breaks it off; what was copied by then is found by the next attempt
   * @throws MemoirError UNAVAILABLE if the thread ends first, or was closed
   */
  keep(what: ToKeep, signal: AbortSignal): Promise<KeptCommit>;
  /** Breaks off what is under way, and ends when that is in order. */
  close(): Promise<void>;
};

/** A keeper, whose thread is started when it is first needed and, should it die, the next time again. */
export function createKeeper(): Keeper {
  const name = 'the thread that keeps commits';
  const file = new URL('./keep-thread.js', import.meta.url);
  const thread = threadOnDemand<KeepThread>(name, () => startThread(file, undefined, { name }));
  return {
    async keep(what, signal) {
      try {
        return await thread.call.keep(what, { signal });
      } catch (error) {
        throw error instanceof ThreadEnded ? unavailable(what.source.name, 'its commits are not kept', error) : error;
      }
    },
    close: thread.close,
  };
}
