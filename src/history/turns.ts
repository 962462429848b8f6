/** Who may go on in one turn of the event loop. Each does a bounded piece of work, so that a turn takes some milliseconds. */
const atOnce = 4;

/** Lets many loops share a thread with each other and with everything else on it. */
export type Turns = {
  /** Resolves when it is the caller's turn to do a bounded piece of work. Turns are given in the order in which they were asked for. */
  next(): Promise<void>;
};

/** Turns for the loops of one kind; one must serve all of them. */
export function createTurns(): Turns {
  let waiting: (() => void)[] = [];
  let scheduled = false;

  function give(): void {
    const [now, later] = [waiting.slice(0, atOnce), waiting.slice(atOnce)];
    waiting = later;
    scheduled = later.length > 0;
    if (scheduled) setImmediate(give);
    for (const resolve of now) resolve();
  }

  return {
    next: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        if (scheduled) return;
        scheduled = true;
        setImmediate(give);
      }),
  };
}
