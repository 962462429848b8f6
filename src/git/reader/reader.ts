import type { Calls } from '../../threads/methods.js';
import { startThread } from '../../threads/thread.js';
import { threadOnDemand } from '../../threads/thread-on-demand.js';
import { unavailable } from '../problem.js';
import type { ReaderThread } from './reader-thread.js';

/** The thread that reads objects of all repositories, seen from the thread that answers calls. */
export type Reader = {
  /**
   * What can be asked of a repository.
   * @throws MemoirError DATA_LOSS for a damaged repository, UNAVAILABLE if it cannot be read or the reader was closed
   */
  readonly read: Calls<ReaderThread>;
  close(): Promise<void>;
};

/** A reader, whose thread is started by the first question and, should it die, by the next one again. */
export function createReader(): Reader {
  const file = new URL('./reader-thread.js', import.meta.url);
  const { call, close } = threadOnDemand<ReaderThread>({
    start: () => startThread(file, undefined, { name: 'the thread that reads repositories' }),
    unanswered: (error, { layout }) => unavailable(layout.name, 'its reader stopped', error),
  });
  return { read: call, close };
}
