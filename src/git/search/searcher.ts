import type { Calls } from '../../threads/methods.js';
import { startThread } from '../../threads/thread.js';
import { threadOnDemand } from '../../threads/thread-on-demand.js';
import type { Asking } from '../port.js';
import { unavailable } from '../problem.js';
import { searchLane } from './search-lane.js';
import type { SearchThread } from './search-thread.js';

type Search = Calls<SearchThread>['search'];

/** Searches in messages of all repositories, in a thread of their own. */
export type Searcher = {
  /**
   * Searches once it is the turn of who asks.
   * @throws MemoirError UNAVAILABLE if the repository cannot be read or the searcher was closed; the reason of the signal of who asks
   */
  search(asked: Parameters<Search>[0], asking: Asking | undefined): ReturnType<Search>;
  close(): Promise<void>;
};

/** A searcher, whose thread is started by the first search and, should it die, by the next one again. */
export function createSearcher(): Searcher {
  const file = new URL('./search-thread.js', import.meta.url);
  const lane = searchLane();
  const { call, close } = threadOnDemand<SearchThread>({
    start: () => startThread(file, undefined, { name: 'the thread that searches in messages' }),
    unanswered: (error, { layout }) => unavailable(layout.name, 'the search was ended', error),
  });
  return {
    search: (asked, asking) => lane.run(asking, (signal) => call.search(asked, signal && { signal })),
    close,
  };
}
