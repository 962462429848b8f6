import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** How long an event loop was held up at most while some work went on, in milliseconds. */
export type HeldUp<T> = {
  /** By what this thread did itself: processor time between two turns. Equal to `clock` where the system does not tell it. */
  readonly own: number;
  /** On the clock, which counts also what other processes of a busy machine took. */
  readonly clock: number;
  readonly result: T;
};

/** Measures how long work holds up the event loop of this thread. */
export async function measureHeldUp<T>(work: () => Promise<T>): Promise<HeldUp<T>> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  let most = 0;
  let last = threadTime();
  const watch = setInterval(() => {
    const now = threadTime();
    most = Math.max(most, now - last);
    last = now;
  }, 1);
  await delay(5);
  const result = await work();
  await delay(5);
  clearInterval(watch);
  monitor.disable();
  const clock = monitor.max / 1e6;
  return { own: Number.isNaN(most) ? clock : most, clock, result };
}

/** Processor time of the main thread in milliseconds, from Linux's scheduler; NaN elsewhere. */
function threadTime(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return Number.NaN;
  }
}
