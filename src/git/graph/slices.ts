import { setImmediate as turn } from 'node:timers/promises';

/** Most time that long work takes before everything else has its turn, in milliseconds. */
const slice = 5;

/**
 * Runs work that yields now and then, giving way to everything else on this thread whenever it took some milliseconds.
 */
export async function inSlices<T>(work: Generator<undefined, T>): Promise<T> {
  for (;;) {
    const until = performance.now() + slice;
    let step = work.next();
    while (!step.done && performance.now() < until) step = work.next();
    if (step.done) return step.value;
    await turn();
  }
}
