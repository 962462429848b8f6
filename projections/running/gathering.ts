/** Lets events gather between two transactions. */
export type Gathering = {
  /** Resolves when enough time has passed, somebody hurries, or the signal aborts; undefined if there is nothing to wait for. */
  rest(events: number, signal: AbortSignal): Promise<void> | undefined;
  /** Ends the rest at hand, or has the next one left out. */
  hurry(): void;
};

/** Rests for so many milliseconds after each transaction of at least `least` events. */
export function letGather(time: number, least = 0): Gathering {
  let hurried = false;
  let end: (() => void) | undefined;

  function wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, time);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        end = undefined;
        resolve();
      }
      end = done;
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  return {
    rest(events, signal) {
      const skipped = hurried || events < least;
      hurried = false;
      return skipped ? undefined : wait(signal);
    },
    hurry() {
      if (end) end();
      else hurried = true;
    },
  };
}
