/** A watch that looks at something again and again. */
export type Sweeping = {
  /** Looks once. */
  sweep(): Promise<void>;
  /** Ends the watch, after the look at hand. */
  stop(): Promise<void>;
};

/**
 * Looks after so many milliseconds, and again so many after each look has ended. What a look of its own fails with goes to `failed`. The
 * process does not go on for its sake alone.
 */
export function sweepEvery(every: number, sweep: () => Promise<void>, failed: (error: unknown) => void): Sweeping {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let running: Promise<void> = Promise.resolve();

  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => {
      running = sweep().catch(failed).finally(schedule);
    }, every);
    timer.unref();
  }
  schedule();

  return {
    sweep,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
