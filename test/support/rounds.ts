const percent = process.env.MEMOIR_ROUNDS;

/**
 * How often a test that repeats or draws at random goes round: `few` times in daily work and in CI. With MEMOIR_ROUNDS it is that many
 * per cent of `whole`, so that MEMOIR_ROUNDS=100 is the whole of it.
 */
export function rounds(few: number, whole = 100): number {
  return percent === undefined ? few : Math.max(1, Math.ceil((whole * Number(percent)) / 100));
}
