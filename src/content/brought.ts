/** Most blobs that are known of all together; whoever brought the least lately is forgotten first, and brings its blobs again. */
const mostKnown = 4_000_000;

/** Which blobs somebody brought. */
export type Brought = {
  has(hash: string): boolean;
  add(hash: string): void;
};

/** Who brought which blobs, in memory: what is forgotten, as by a restart, is brought again. */
export type Bringers = {
  /** Those of one, by whatever it is called. */
  of(bringer: string): Brought;
};

/** Starts with none. */
export function bringers(most = mostKnown): Bringers {
  const known = new Map<string, Set<string>>();
  let count = 0;

  function forgetOthers(bringer: string): void {
    for (const [other, blobs] of known) {
      if (count <= most) return;
      if (other === bringer) continue;
      known.delete(other);
      count -= blobs.size;
    }
  }

  return {
    of: (bringer) => ({
      has: (hash) => known.get(bringer)?.has(packed(hash)) === true,
      add(hash) {
        const blobs = known.get(bringer) ?? new Set();
        const before = blobs.size;
        if (count < most || known.size > 1) blobs.add(packed(hash));
        count += blobs.size - before;
        // To the end of those that are forgotten.
        known.delete(bringer);
        known.set(bringer, blobs);
        if (count > most) forgetOthers(bringer);
      },
    }),
  };
}

/** A hash in half of the memory. */
const packed = (hash: string): string => Buffer.from(hash, 'hex').toString('latin1');
