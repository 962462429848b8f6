import { setImmediate as turn } from 'node:timers/promises';

/** Longest time that work takes before everything else has its turn, in milliseconds. */
const slice = 4;

/** Gives long work a way to be asked now and then whether others must have their turn; what it gives is waited for. */
export function pace(): () => Promise<void> | undefined {
  let until = performance.now() + slice;
  return () => {
    if (performance.now() < until) return undefined;
    return turn().then(() => {
      until = performance.now() + slice;
    });
  };
}
