import { setTimeout as delay } from 'node:timers/promises';

/** What work told since it was told before, or what it gave in the end. */
export type Telling<P, R> = { readonly told: readonly P[] } | { readonly done: R };

/** Shortest time between two messages of work that tells much, in milliseconds. */
const tellEvery = 1_000;

/** What some work tells while it goes on, at most so often, and then what it gives. What it throws is thrown. */
export async function* telling<P, R>(
  work: (tell: (told: P) => void) => Promise<R>,
  every = tellEvery,
): AsyncGenerator<Telling<P, R>> {
  let told: P[] = [];
  let wake = () => {};
  let ended = false;
  const done = work((one) => {
    told.push(one);
    wake();
  });
  const over = done.then(
    () => undefined,
    () => undefined,
  );
  void over.then(() => {
    ended = true;
  });
  let last = Number.NEGATIVE_INFINITY;
  while (!ended) {
    if (told.length === 0) {
      const next = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([over, next]);
    }
    const early = last + every - performance.now();
    if (early > 0) await Promise.race([over, delay(early, undefined, { ref: false })]);
    if (told.length === 0) continue;
    last = performance.now();
    const some = told;
    told = [];
    yield { told: some };
  }
  const result = await done;
  if (told.length > 0) yield { told };
  yield { done: result };
}
