import type { AskOf, Calls, OpenThread } from './methods.js';
import { callsBy, type Thread, ThreadEnded } from './thread.js';

/** A thread that there is while it is needed. */
export type ThreadOnDemand<Open extends OpenThread> = {
  /** Its methods; see `Thread`. */
  readonly call: Calls<Open>;
  /** Whether there is one now. */
  running(): boolean;
  /** Ends it as a thread is closed. It is not started again. */
  close(): Promise<void>;
};

/** How a thread is started when it is needed. */
export type OnDemand<Open extends OpenThread> = {
  readonly start: () => Thread<Open>;
  /** What a call fails with that had no answer because the thread ended, or was closed; that itself unless given. */
  readonly unanswered?: (error: ThreadEnded, ask: AskOf<Open>) => Error;
};

/** A thread that is started by the first call and, should it die, by the next one again. */
export function threadOnDemand<Open extends OpenThread>({ start, unanswered }: OnDemand<Open>): ThreadOnDemand<Open> {
  let thread: Thread<Open> | undefined;
  let closed = false;

  function living(): Thread<Open> {
    if (closed) throw new ThreadEnded('its thread is closed');
    if (!thread?.alive()) thread = start();
    return thread as Thread<Open>;
  }

  const call = callsBy<Open>(async (method, ask, options) => {
    try {
      const asked = Reflect.get(living().call, method) as (...all: readonly unknown[]) => Promise<unknown>;
      return await asked(ask, options);
    } catch (error) {
      throw unanswered && error instanceof ThreadEnded ? unanswered(error, ask as AskOf<Open>) : error;
    }
  });
  return {
    call,
    running: () => thread?.alive() === true,
    async close() {
      closed = true;
      await thread?.close();
    },
  };
}
