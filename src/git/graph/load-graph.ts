import { Worker } from 'node:worker_threads';
import { unavailable } from '../problem.js';
import { unpackError } from '../reader/sent-error.js';
import type { GraphLoaded, GraphThreadData, GraphThreadMessage } from './graph-protocol.js';

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
  /** Called with what was found damaged but could be done without. */
  warning(text: string): void;
};

/**
 * Loads a history in a thread of its own.
 * The result fails with a MemoirError: DATA_LOSS for a damaged repository, UNAVAILABLE if it cannot be read.
 */
export function loadGraph(data: GraphThreadData, listener: GraphLoadListener): GraphLoad {
  const thread = new Worker(new URL('./graph-thread.js', import.meta.url), { workerData: data });
  const result = new Promise<GraphLoaded>((resolve, reject) => {
    thread.on('message', (message: GraphThreadMessage) => {
      if (message.kind === 'progress') listener.progress(message.imported);
      else if (message.kind === 'warning') listener.warning(message.text);
      else if (message.kind === 'failed') reject(unpackError(message.error));
      else resolve(message);
    });
    thread.on('error', (error) => reject(unavailable(data.layout.name, 'loading its history failed', error)));
    thread.on('exit', () => reject(unavailable(data.layout.name, 'loading its history was ended')));
  });
  return {
    result,
    async cancel() {
      await thread.terminate();
    },
  };
}
