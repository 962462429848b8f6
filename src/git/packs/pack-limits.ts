/** What a pack from elsewhere may ask of this machine. */
export type PackLimits = {
  /** Most objects. */
  readonly objects: number;
  /** Most bytes of one object. One that is kept as a delta is in memory as a whole, with its base. */
  readonly objectBytes: number;
  /** Most bytes of one object that is kept as a delta, or is the base of one. */
  readonly deltaBytes: number;
  /** Most bytes that are inflated and put together in all. */
  readonly inflatedBytes: number;
  /** Most deltas from an object to one that is whole; git makes at most 4,095. */
  readonly depth: number;
  /** Longest time that all of it takes, in milliseconds of this thread's work. */
  readonly milliseconds: number;
};

const gibibyte = 1024 ** 3;

/** Enough for the largest histories that are about. */
export const packLimits: PackLimits = {
  objects: 50_000_000,
  objectBytes: 4 * gibibyte,
  deltaBytes: gibibyte / 2,
  inflatedBytes: 1024 * gibibyte,
  depth: 4_095,
  milliseconds: 3_600_000,
};

/** How much of what is allowed was used. */
export type PackBudget = {
  readonly limits: PackLimits;
  /** Counts bytes that were made. @throws Error naming the limit that is passed */
  spend(bytes: number): void;
};

/**
 * Nothing is used yet.
 * @param monotonic - a clock in milliseconds
 * @param counts - what each thread that works on the same pack has made, in memory that they share
 * @param own - the place of this thread in it
 */
export function packBudget(
  limits: PackLimits,
  monotonic: () => number,
  counts: Float64Array = new Float64Array(1),
  own = 0,
): PackBudget {
  const begun = monotonic();
  let sinceLook = 0;
  let calls = 0;
  return {
    limits,
    spend(bytes) {
      counts[own] = (counts[own] as number) + bytes;
      let spent = 0;
      for (let i = 0; i < counts.length; i++) spent += counts[i] as number;
      if (spent > limits.inflatedBytes) throw new Error(`its pack inflates to more than ${limits.inflatedBytes} bytes`);
      sinceLook += bytes;
      if (sinceLook < clockEvery && ++calls % 1_024 !== 0) return;
      sinceLook = 0;
      if (monotonic() - begun > limits.milliseconds)
        throw new Error(`its pack takes longer than ${limits.milliseconds} ms to be indexed`);
    },
  };
}

/** The clock is looked at after so many bytes, or so many small objects. */
const clockEvery = 1024 * 1024;
