/** A rate: so many a second in the long run, and so many at once after a pause. */
export type Rate = { readonly perSecond: number; readonly burst: number };

/** What sums of fractions may be off by: what was said to be there at a time is there then. */
const rounding = 1e-9;

/**
 * A token bucket (as in RFC 2697, with one rate), which may also go into debt where what is taken is known only afterwards. Times are in milliseconds
 * of a clock that does not jump.
 */
export class Bucket {
  readonly #rate: Rate;
  #left: number;
  #at: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#at = now;
  }

  /** Takes one. @returns 0 if there was one, else in how many milliseconds there will be */
  take(now: number): number {
    this.#fill(now);
    if (this.#left >= 1 - rounding) {
      this.#left -= 1;
      return 0;
    }
    return ((1 - this.#left) / this.#rate.perSecond) * 1_000;
  }

  /** Takes so many, whether they are there or not. @returns in how many milliseconds what is owed then is paid back; 0 for nothing */
  owe(count: number, now: number): number {
    this.#fill(now);
    this.#left -= count;
    return this.owed(now);
  }

  /** In how many milliseconds what is owed is paid back; 0 for nothing. */
  owed(now: number): number {
    this.#fill(now);
    return this.#left >= 0 ? 0 : (-this.#left / this.#rate.perSecond) * 1_000;
  }

  /** Whether it is as a new one. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#left >= this.#rate.burst;
  }

  #fill(now: number): void {
    if (now <= this.#at) return;
    this.#left = Math.min(this.#rate.burst, this.#left + ((now - this.#at) / 1_000) * this.#rate.perSecond);
    this.#at = now;
  }
}
