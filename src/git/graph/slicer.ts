import { setImmediate as turn } from 'node:timers/promises';

/** Does long work on the thread that answers calls without holding it up. */
export type Slicer = {
  /** Runs work that yields now and then, in turns with the other work of this slicer and with everything else. */
  run<T>(work: Generator<undefined, T>): Promise<T>;
};

/** Most time that all work of a slicer takes before everything else has its turn, in milliseconds. */
const slice = 5;

type Running = { step(until: number): boolean };

/** A slicer. One must serve all long work of a thread, or the slices add up. */
export function createSlicer(): Slicer {
  const queue: Running[] = [];
  let pumping = false;

  async function pump(): Promise<void> {
    pumping = true;
    for (let next = queue.shift(); next; next = queue.shift()) {
      if (!next.step(performance.now() + slice)) queue.push(next);
      if (queue.length > 0) await turn();
    }
    pumping = false;
  }

  return {
    run<T>(work: Generator<undefined, T>): Promise<T> {
      return new Promise((resolve, reject) => {
        queue.push({
          step(until) {
            try {
              for (let step = work.next(); ; step = work.next()) {
                if (step.done) {
                  resolve(step.value);
                  return true;
                }
                if (performance.now() >= until) return false;
              }
            } catch (error) {
              reject(error);
              return true;
            }
          },
        });
        if (!pumping) void pump();
      });
    },
  };
}
