import type { BlobName } from './blob-name.js';

/** Most blobs that are known of all together; whoever brought the least lately is forgotten first, and brings its blobs again. */
const mostKnown = 4_000_000;

/** Stands for the size of what nobody counts on. */
const unsized = -1;

/** Which blobs somebody brought, or may know of. */
export type Brought = {
  has(hash: string): boolean;
  /** Adds one; with its size, in bytes, if it is one that somebody counts on. */
  add(hash: string, size?: number): void;
  /** Those that somebody counts on. */
  countedOn(): readonly BlobName[];
};

/** Who brought which blobs, in memory: what is forgotten, as by a restart, is brought again. */
export type Bringers = {
  /** Those of one, by whatever it is called. */
  of(bringer: string): Brought;
};

/** Starts with none. */
export function bringers(most = mostKnown): Bringers {
  const known = new Map<string, Map<string, number>>();
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
      add(hash, size = unsized) {
        const blobs = known.get(bringer) ?? new Map<string, number>();
        const before = blobs.size;
        const key = packed(hash);
        if (blobs.has(key)) {
          if (size !== unsized) blobs.set(key, size);
        } else if (count < most || known.size > 1) blobs.set(key, size);
        count += blobs.size - before;
        // To the end of those that are forgotten.
        known.delete(bringer);
        known.set(bringer, blobs);
        if (count > most) forgetOthers(bringer);
      },
      countedOn() {
        const names: BlobName[] = [];
        for (const [key, size] of known.get(bringer) ?? []) {
          if (size !== unsized) names.push({ hash: Buffer.from(key, 'latin1').toString('hex'), size });
        }
        return names;
      },
    }),
  };
}

/** A hash in half of the memory. */
const packed = (hash: string): string => Buffer.from(hash, 'hex').toString('latin1');
