/** How often at most the same is logged, in milliseconds. */
const logInterval = 10_000;

/** Calls `log` with how often it happened, at once and then at most at intervals. */
export function seldom(monotonic: () => number, log: (times: number) => void): () => void {
  let times = 0;
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    times += 1;
    if (monotonic() - last < logInterval) return;
    last = monotonic();
    log(times);
    times = 0;
  };
}
