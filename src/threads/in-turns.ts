import { setImmediate as turn } from 'node:timers/promises';
import type { Call } from './methods.js';

/** How long one request is worked on before others have their turn, in milliseconds. */
const slice = 10;

/** Takes the steps of one request to a thread in turns with those of others. @throws the signal's reason once that aborts */
export async function inTurns<T>(steps: Generator<undefined, T>, { signal }: Pick<Call, 'signal'>): Promise<T> {
  let until = performance.now() + slice;
  let step = steps.next();
  while (!step.done) {
    if (performance.now() > until) {
      await turn();
      signal.throwIfAborted();
      until = performance.now() + slice;
    }
    step = steps.next();
  }
  return step.value;
}

/** Takes all steps at once, where nobody else has to have a turn. */
export function atOnce<T>(steps: Generator<undefined, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** What is called after each step of a loop: it resolves at once until the loop took so long that others are to have their turn. */
export function sliced(): () => Promise<unknown> | undefined {
  let until = performance.now() + slice;
  return () => {
    if (performance.now() < until) return undefined;
    return turn().then(() => {
      until = performance.now() + slice;
    });
  };
}
