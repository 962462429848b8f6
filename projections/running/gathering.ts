/** Lets events gather between two transactions. */
export type Gathering = {
  /** Resolves when enough time has passed, somebody hurries, or the signal aborts; undefined if there is nothing to wait for. */
  rest(busy: boolean, signal: AbortSignal): Promise<void> | undefined;
  /** Ends the rest at hand, or has the next one left out. */
  hurry(): void;
};

/** Rests for so many milliseconds, after any transaction or only after those that followed another at once. */
export function letGather(time: number, onlyBusy = false): Gathering {
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
    rest(busy, signal) {
      const skipped = hurried || (onlyBusy && !busy);
      hurried = false;
      return skipped ? undefined : wait(signal);
    },
    hurry() {
      if (end) end();
      else hurried = true;
    },
  };
}
