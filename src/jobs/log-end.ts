import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Edge } from '../edge.js';
import { type EventStore, type Position, start } from '../eventstore/port.js';

/** How many looks at the end are begun within the time that one lasts: so many may be late or come to nothing. */
const looksWithin = 5;

/** Knows how lately a server was at the end of a log that others write too. */
export type LogEnd = {
  /** How long ago that may have been, in milliseconds; 0 where it does not count. */
  readonly within: number;
  /**
   * Whether everything that was in the log `within` milliseconds ago is before or at `position`, which the read model has come to. Who asks
   * has the end looked at, so that it is known the next time.
   */
  isBefore(position: Position): boolean;
};

/** A look at the end of the log. */
type Look = {
  /** When it began: what was recorded before then is not behind `end`. */
  readonly begun: number;
  readonly end: Position;
};

/** Never was there. */
export const neverAtEnd: LogEnd = { within: 0, isBefore: () => false };

/**
 * Looks at the end of the log as long as it is asked for. What proves that the server was there is the answer to a look which began within
 * that time, and nothing else: a connection that is silent, or has told once that nothing more was there, proves nothing of now.
 */
export function watchLogEnd(
  store: Pick<EventStore, 'exclusive' | 'end'>,
  readModel: Pick<ReadModel, 'position' | 'onBroken' | 'onRemade'>,
  within: number,
  { monotonic }: Pick<Edge, 'monotonic'>,
): LogEnd {
  if (store.exclusive || within === 0) return neverAtEnd;
  // The oldest first; an older one holds for earlier positions.
  let looks: Look[] = [];
  let looking = false;
  let last = Number.NEGATIVE_INFINITY;
  // Looks that began before the log may have become another, or what was read of it was made anew, prove nothing.
  let doubts = 0;

  function forget(): void {
    looks = [];
    doubts++;
  }
  readModel.onBroken(forget);
  readModel.onRemade(forget);

  async function look(begun: number): Promise<void> {
    looking = true;
    last = begun;
    const had = readModel.position();
    const before = doubts;
    try {
      const end = await store.end();
      // A log that ends before what was read of it has lost something, or is another.
      if (before === doubts && end >= had && end !== start) looks.push({ begun, end });
    } catch {
      // The store is away, which is told by who needs it.
    } finally {
      looking = false;
    }
  }

  return {
    within,
    isBefore(position) {
      const now = monotonic();
      looks = looks.filter(({ begun }) => now - begun <= within);
      if (!looking && now - last >= within / looksWithin) void look(now);
      return looks.some(({ end }) => end <= position);
    },
  };
}
