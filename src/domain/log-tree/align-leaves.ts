import { hashLength } from './growing-tree.js';

/** A leaf that only one of two sequences has at a place: its number there, its position in the log, its hash in hexadecimal digits. */
export type LooseLeaf = { readonly index: number; readonly position: number; readonly hash: string };

/** Where two sequences of leaves part and meet again. */
export type Gap = {
  /** Number of the first leaf of the first sequence that the second has not there, and how many there are. */
  readonly expectedFrom: number;
  readonly expectedCount: number;
  /** The same the other way round. */
  readonly foundFrom: number;
  readonly foundCount: number;
  /** Those leaves. Where there are very many, not all of them, and the last gap goes on over equal ones to the last difference. */
  readonly expected: readonly LooseLeaf[];
  readonly found: readonly LooseLeaf[];
};

/** Leaves in order, to be compared with others. */
export type LeafRun = { readonly hashes: Uint8Array; readonly positions: ArrayLike<number> };

/** Compares two sequences of leaves that come piece by piece. */
export type LeafAligner = {
  /** The next leaves of the second sequence. */
  take(found: LeafRun): void;
  /** The gaps, when there are no more. */
  finish(): readonly Gap[];
};

/** How the sequences are compared. */
export type AlignOptions = {
  /** The next leaves of the first sequence; undefined after its end. */
  readonly next: () => LeafRun | undefined;
  /** Leaves of each side among which it is first looked for where they meet again, and at most. */
  readonly window?: number;
  readonly widest?: number;
  /** Most leaves that are told one by one. */
  readonly most?: number;
};

/**
 * Finds where the second sequence is not the first: leaves left out, put in, exchanged. All leaves of a log differ, so that two equal
 * ones are the same event, and after a difference the nearest two such are where the sequences meet again. Memory is bounded.
 */
export function alignLeaves({ next, window = 4_096, widest = 65_536, most = 10_000 }: AlignOptions): LeafAligner {
  const expected = leafQueue();
  const found = leafQueue();
  const gaps: Gap[] = [];
  let ended = false;
  let told = 0;

  /** Fills the first queue up to so many leaves, if there are as many. */
  function fill(count: number): void {
    while (!ended && expected.length() < count) {
      const run = next();
      if (run) expected.push(run);
      else ended = true;
    }
  }

  function takeEqual(): void {
    for (;;) {
      fill(found.length());
      const count = expected.equalTo(found);
      if (count === 0) return;
      expected.drop(count);
      found.drop(count);
    }
  }

  /** Passes over leaves of both sides up to where they meet. */
  function skip(expectedCount: number, foundCount: number): void {
    if (expectedCount + foundCount === 0) return;
    const room = Math.floor(Math.max(0, most - told) / 2);
    const gap = {
      expectedFrom: expected.index(),
      expectedCount,
      foundFrom: found.index(),
      foundCount,
      expected: expected.first(Math.min(expectedCount, room)),
      found: found.first(Math.min(foundCount, room)),
    };
    told += gap.expected.length + gap.found.length;
    const before = gaps.at(-1);
    const joins =
      before &&
      (room === 0 ||
        (before.expectedFrom + before.expectedCount === gap.expectedFrom &&
          before.foundFrom + before.foundCount === gap.foundFrom));
    if (joins) gaps.splice(-1, 1, joined(before, gap));
    else gaps.push(gap);
    expected.drop(expectedCount);
    found.drop(foundCount);
  }

  function align(last: boolean): void {
    for (;;) {
      takeEqual();
      if (found.length() === 0) break;
      fill(window);
      // The whole window is needed to find the nearest meeting, unless no more leaves come.
      if (found.length() < window && !last) return;
      let width = window;
      let meeting = expected.meeting(found, width);
      // Wider, as long as there are more leaves of either side, or may be.
      const more = () => !last || !ended || found.length() > width || expected.length() > width;
      while (!meeting && width < widest && more()) {
        width *= 2;
        fill(width);
        if (found.length() < width && !last) return;
        meeting = expected.meeting(found, width);
      }
      if (meeting) skip(meeting.expected, meeting.found);
      else skip(Math.min(width, expected.length()), Math.min(width, found.length()));
    }
    if (!last) return;
    for (;;) {
      fill(window);
      if (expected.length() === 0) return;
      skip(expected.length(), 0);
    }
  }

  return {
    take(run) {
      found.push(run);
      align(false);
    },
    finish() {
      align(true);
      return gaps;
    },
  };
}

function joined(one: Gap, other: Gap): Gap {
  return {
    expectedFrom: one.expectedFrom,
    expectedCount: other.expectedFrom + other.expectedCount - one.expectedFrom,
    foundFrom: one.foundFrom,
    foundCount: other.foundFrom + other.foundCount - one.foundFrom,
    expected: [...one.expected, ...other.expected],
    found: [...one.found, ...other.found],
  };
}

/** Leaves that wait to be compared. */
function leafQueue() {
  let hashes = Buffer.alloc(0);
  let positions: number[] = [];
  let index = 0;
  const hashAt = (i: number) => hashes.toString('latin1', i * hashLength, (i + 1) * hashLength);

  return {
    length: () => positions.length,
    /** Number of the first one that waits. */
    index: () => index,
    push(run: LeafRun): void {
      hashes = hashes.length === 0 ? Buffer.from(run.hashes) : Buffer.concat([hashes, run.hashes]);
      positions = positions.length === 0 ? Array.from(run.positions) : positions.concat(Array.from(run.positions));
    },
    drop(count: number): void {
      hashes = hashes.subarray(count * hashLength);
      positions = count === positions.length ? [] : positions.slice(count);
      index += count;
    },
    bytes: () => hashes,
    /** How many leaves of both are equal from the first on. */
    equalTo(other: { length(): number; bytes(): Buffer }): number {
      const count = Math.min(positions.length, other.length());
      const [one, two] = [hashes, other.bytes()];
      if (one.compare(two, 0, count * hashLength, 0, count * hashLength) === 0) return count;
      let equal = 0;
      const at = (i: number): [number, number] => [i * hashLength, (i + 1) * hashLength];
      while (one.compare(two, ...at(equal), ...at(equal)) === 0) equal++;
      return equal;
    },
    /** The nearest two equal leaves of both among the first `width`: how many stand before each. */
    meeting(
      other: { length(): number; hashAt(i: number): string },
      width: number,
    ): { expected: number; found: number } | undefined {
      const places = new Map<string, number>();
      for (let i = 0; i < Math.min(width, positions.length); i++) places.set(hashAt(i), i);
      let best: { expected: number; found: number } | undefined;
      let nearest = Number.POSITIVE_INFINITY;
      for (let i = 0; i < Math.min(width, other.length(), nearest); i++) {
        const place = places.get(other.hashAt(i));
        if (place === undefined || place + i >= nearest) continue;
        nearest = place + i;
        best = { expected: place, found: i };
      }
      return best;
    },
    hashAt,
    first: (count: number): LooseLeaf[] =>
      Array.from({ length: count }, (_, i) => ({
        index: index + i,
        position: positions[i] as number,
        hash: hashes.toString('hex', i * hashLength, (i + 1) * hashLength),
      })),
  };
}
