const percent = process.env.MEMOIR_ROUNDS;

/**
 * How often a test that repeats or draws at random goes round: `few` times in daily work and in CI. With MEMOIR_ROUNDS it is that many
 * per cent of `whole`, so that MEMOIR_ROUNDS=100 is the whole of it.
 */
export function rounds(few: number, whole = 100): number {
  return percent === undefined ? few : Math.max(1, Math.ceil((whole * Number(percent)) / 100));
}

/**
 * The numbers of the rounds of a test that is to show something which depends on who is faster, or on chance: as many as `rounds` says,
 * and more until `seen` says that it happened, `most` at the most. The test then asserts that it did.
 */
export function* roundsUntil(
  seen: () => boolean,
  few: number,
  whole = 100,
  most = whole,
): Generator<number, void, void> {
  const count = rounds(few, whole);
  for (let round = 0; round < count || (round < most && !seen()); round++) yield round;
}
