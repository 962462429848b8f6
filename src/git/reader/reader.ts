import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Layout } from '../layout.js';
import { unavailable } from '../problem.js';
import type { Question, Questions, ReaderReply, ReaderRequest } from './reader-protocol.js';
import { unpackError } from './sent-error.js';

/** The thread that reads objects of all repositories, seen from the thread that answers calls. */
export type Reader = {
  /**
   * Asks something of a repository.
   * @throws MemoirError DATA_LOSS for a damaged repository, UNAVAILABLE if it cannot be read or the reader was closed
   */
  ask<Q extends Question>(layout: Layout, question: Q, ask: Questions[Q]['ask']): Promise<Questions[Q]['answer']>;
  close(): Promise<void>;
};

type Waiting = { layout: Layout; resolve(answer: never): void; reject(error: Error): void };

/** A reader, whose thread is started by the first question and, should it die, by the next one again. */
export function createReader(): Reader {
  const waiting = new Map<number, Waiting>();
  let thread: Worker | undefined;
  let asked = 0;
  let closed = false;

  function start(): Worker {
    const started = new Worker(new URL('./reader-thread.js', import.meta.url));
    started.unref();
    started.on('message', ({ number, answer, error }: ReaderReply) => {
      const asker = waiting.get(number);
      waiting.delete(number);
      if (waiting.size === 0) started.unref();
      if (error) asker?.reject(unpackError(error));
      else asker?.resolve(answer as never);
    });
    let cause: unknown;
    started.on('error', (error) => {
      cause = error;
    });
    started.on('exit', () => {
      if (thread === started) thread = undefined;
      for (const { layout, reject } of waiting.values()) reject(unavailable(layout.name, 'its reader stopped', cause));
      waiting.clear();
    });
    return started;
  }

  return {
    ask(layout, question, ask) {
      if (closed) return Promise.reject(unavailable(layout.name, 'its reader is closed'));
      thread ??= start();
      const number = ++asked;
      const answer = new Promise<never>((resolve, reject) => waiting.set(number, { layout, resolve, reject }));
      if (waiting.size === 1) thread.ref();
      thread.postMessage({ number, layout, question, ask } as ReaderRequest);
      return answer;
    },
    async close() {
      closed = true;
      if (!thread) return;
      thread.ref();
      const exit = once(thread, 'exit');
      thread.postMessage('close' satisfies ReaderRequest);
      await exit;
    },
  };
}
