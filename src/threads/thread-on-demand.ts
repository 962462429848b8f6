import type { Calls, OpenThread } from './methods.js';
import { callsBy, type Thread, ThreadEnded } from './thread.js';

/** A thread that there is while it is needed. */
export type ThreadOnDemand<Open extends OpenThread> = {
  /** Its methods; see `Thread`. */
  readonly call: Calls<Open>;
  /** Ends it as a thread is closed. It is not started again. */
  close(): Promise<void>;
};

/**
 * A thread that `start` starts with the first call and, should it die, with the next one again.
 * @param name - what the message of calls that come after `close` names
 */
export function threadOnDemand<Open extends OpenThread>(name: string, start: () => Thread<Open>): ThreadOnDemand<Open> {
  let thread: Thread<Open> | undefined;
  let closed = false;
  const calls = callsBy<Open>(async (method, ask, options) => {
    if (closed) throw new ThreadEnded(`${name} is closed`);
    thread = thread?.alive() ? thread : start();
    return (Reflect.get(thread.call, method) as (...all: unknown[]) => Promise<unknown>)(ask, options);
  });
  return {
    call: calls,
    async close() {
      closed = true;
      await thread?.close();
    },
  };
}
