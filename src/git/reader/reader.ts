import type { Calls } from '../../threads/methods.js';
import { startThread } from '../../threads/thread.js';
import { threadOnDemand } from '../../threads/thread-on-demand.js';
import type { Layout } from '../layout.js';
import { unavailable } from '../problem.js';
import type { ReaderThread } from './reader-thread.js';

/** The thread that reads objects of all repositories, seen from the thread that answers calls. */
export type Reader = {
  /**
   * What can be asked of a repository.
   * @throws MemoirError DATA_LOSS for a damaged repository, UNAVAILABLE if it cannot be read or the reader was closed
   */
  readonly read: Omit<Calls<ReaderThread>, 'forget'>;
  /** Lets go of the files of a repository, once what is asked of it now is answered. */
  forget(layout: Layout): Promise<void>;
  close(): Promise<void>;
};

/** A reader, whose thread is started by the first question and, should it die, by the next one again. */
export function createReader(): Reader {
  const file = new URL('./reader-thread.js', import.meta.url);
  const { call, running, close } = threadOnDemand<ReaderThread>({
    start: () => startThread(file, undefined, { name: 'the thread that reads repositories' }),
    unanswered: (error, { layout }) => unavailable(layout.name, 'its reader stopped', error),
  });
  return {
    read: call,
    async forget(layout) {
      if (running()) await call.forget({ layout }).catch(() => undefined);
    },
    close,
  };
}
