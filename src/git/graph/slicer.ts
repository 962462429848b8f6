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
  /**
   * When the slice of this turn of the event loop is over; undefined before a turn's first work. Work that is asked for as soon
   * as other work is done comes within the same turn, so that many short pieces in a row would be a long one.
   */
  let until: number | undefined;

  async function pump(): Promise<void> {
    pumping = true;
    for (let next = queue.shift(); next; next = queue.shift()) {
      if (until !== undefined && performance.now() >= until) await turn();
      if (until === undefined) {
        until = performance.now() + slice;
        setImmediate(() => {
          until = undefined;
        });
      }
      if (!next.step(until)) queue.push(next);
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
