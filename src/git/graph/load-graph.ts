import { startThread, ThreadEnded } from '../../threads/thread.js';
import { unavailable } from '../problem.js';
import type { GraphThread } from './graph-thread.js';
import type { DoneWithout, GraphLoaded, HistoryToLoad, LoadTold } from './history-load.js';

/** A load under way. */
export type GraphLoad = {
  readonly result: Promise<GraphLoaded>;
  /** Ends it; the result then fails. */
  cancel(): Promise<void>;
};

/** What to call while a load goes on. */
export type GraphLoadListener = {
  /** Called now and then with the number of commits read as objects so far. */
  progress(imported: number): void;
  /** Called with what could be done without, and why it was. */
  without(what: DoneWithout, why: string): void;
};

/**
 * Loads a history in a thread of its own.
 * The result fails with a MemoirError: DATA_LOSS for a damaged repository, UNAVAILABLE if it cannot be read.
 */
export function loadGraph(wanted: HistoryToLoad, listener: GraphLoadListener): GraphLoad {
  const { name } = wanted.layout;
  const file = new URL('./graph-thread.js', import.meta.url);
  const thread = startThread<GraphThread>(file, undefined, { name: 'the thread that loads a history' });
  const onTold = (told: LoadTold) =>
    'imported' in told ? listener.progress(told.imported) : listener.without(told.without, told.why);

  async function load(): Promise<GraphLoaded> {
    try {
      return await thread.call.load(wanted, { onTold });
    } catch (error) {
      throw error instanceof ThreadEnded ? unavailable(name, 'loading its history was ended', error) : error;
    } finally {
      void thread.terminate();
    }
  }

  return { result: load(), cancel: thread.terminate };
}
