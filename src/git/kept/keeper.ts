import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { KeptCommit } from '../port.js';
import { unavailable } from '../problem.js';
import { unpackError } from '../reader/sent-error.js';
import type { ToKeep } from './keep-commit.js';
import type { KeepReply, KeepRequest } from './keep-protocol.js';

/** The thread that keeps commits, seen from the thread that answers calls. */
export type Keeper = {
  /**
   * Keeps a commit for a job; see `keepCommit` for how it fails.
   * @param signal - breaks it off; what was copied by then is found by the next attempt
   */
  keep(what: ToKeep, signal: AbortSignal): Promise<KeptCommit>;
  /** Breaks off what is under way, and ends when that is in order. */
  close(): Promise<void>;
};

type Waiting = { readonly repository: string; resolve(kept: KeptCommit): void; reject(error: Error): void };

/** A keeper, whose thread is started when it is first needed and, should it die, the next time again. */
export function createKeeper(): Keeper {
  const waiting = new Map<number, Waiting>();
  let thread: Worker | undefined;
  let asked = 0;
  let closed = false;

  function start(): Worker {
    const started = new Worker(new URL('./keep-thread.js', import.meta.url));
    started.unref();
    started.on('message', ({ number, kept, error }: KeepReply) => {
      const asker = waiting.get(number);
      waiting.delete(number);
      if (waiting.size === 0) started.unref();
      if (kept) asker?.resolve(kept);
      else asker?.reject(error ? unpackError(error) : new Error('no answer'));
    });
    let cause: unknown;
    started.on('error', (error) => {
      cause = error;
    });
    started.on('exit', () => {
      if (thread === started) thread = undefined;
      for (const { repository, reject } of waiting.values()) {
        reject(unavailable(repository, 'the thread that keeps its commits ended', cause));
      }
      waiting.clear();
    });
    return started;
  }

  return {
    async keep(what, signal) {
      signal.throwIfAborted();
      const repository = what.source.name;
      if (closed) throw unavailable(repository, 'no commits are kept any more');
      thread ??= start();
      const to = thread;
      const number = ++asked;
      const say = (request: KeepRequest) => to.postMessage(request);
      const cancel = () => say({ kind: 'cancel', number });
      const kept = new Promise<KeptCommit>((resolve, reject) => waiting.set(number, { repository, resolve, reject }));
      if (waiting.size === 1) to.ref();
      say({ kind: 'keep', number, what });
      signal.addEventListener('abort', cancel, { once: true });
      try {
        return await kept;
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    },
    async close() {
      closed = true;
      if (!thread) return;
      thread.ref();
      const exit = once(thread, 'exit');
      thread.postMessage({ kind: 'close' } satisfies KeepRequest);
      await exit;
    },
  };
}
