/** Lets a loop sleep until something happened, without missing what happens while it is awake. */
export type Waker = {
  /** Ends the present sleep, or else the next one. */
  readonly wake: () => void;
  /** Resolves after the next `wake`, when the signal aborts, or after `timeoutMs` milliseconds. Never rejects. */
  next(signal: AbortSignal, timeoutMs?: number): Promise<void>;
};

/** A waker for one loop. */
export function waker(): Waker {
  let woken = false;
  let rise: (() => void) | undefined;
  return {
    wake() {
      woken = true;
      rise?.();
    },
    async next(signal, timeoutMs) {
      if (!woken && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const done = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', done);
            resolve();
          };
          const timer = timeoutMs === undefined ? undefined : setTimeout(done, timeoutMs);
          signal.addEventListener('abort', done);
          rise = done;
        });
      }
      rise = undefined;
      woken = false;
    },
  };
}
