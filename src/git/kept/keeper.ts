import { startThread } from '../../threads/thread.js';
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
  const file = new URL('./keep-thread.js', import.meta.url);
  const { call, close } = threadOnDemand<KeepThread>({
    start: () => startThread(file, undefined, { name: 'the thread that keeps commits' }),
    unanswered: (error, { source }) => unavailable(source.name, 'its commits are not kept', error),
  });
  return { keep: (what, signal) => call.keep(what, { signal }), close };
}
