import type Database from 'better-sqlite3';
import { uuidOfJobStream } from '../src/domain/streams.js';
import type { RecordedEvent } from '../src/eventstore/port.js';

/** Positions kept at hand: those of the jobs that have events now. */
const cacheSize = 20_000;

/**
 * SQL that picks the row of the job with a uuid, which is bound to both of its parameters. The index on uuids holds 12 of their
 * digits, since whole ones would make it, and the random writes that keep it, several times as big.
 */
export const whereUuid = 'substr(uuid, 1, 13) = substr(?, 1, 13) AND uuid = ?';

/** SQL that makes the index that `whereUuid` uses. */
export const uuidIndex = 'CREATE INDEX job_uuid ON job (substr(uuid, 1, 13))';

/** Gives the position of a job's JobRequested by the job's stream, or null if the stream does not begin with one. */
export type PositionOf = (stream: string) => number | null;

/** Where jobs begin in the log. */
export type JobPositions = {
  readonly positionOf: PositionOf;
  /** Takes note of an event before the projections see it. */
  readonly note: (recorded: RecordedEvent) => void;
};

/**
 * Finds where jobs begin by the table of the projection `jobs`, which must stand before those that ask. What it says of a job
 * never changes, so that these may be rebuilt apart from each other.
 */
export function jobPositions(db: Database.Database): JobPositions {
  const cache = new Map<string, number>();
  let select: Database.Statement | undefined;
  function keep(stream: string, position: number): void {
    if (cache.size >= cacheSize) cache.clear();
    cache.set(stream, position);
  }
  return {
    positionOf(stream) {
      const cached = cache.get(stream);
      if (cached !== undefined) return cached;
      select ??= db.prepare(`SELECT position FROM job WHERE ${whereUuid}`).pluck();
      const uuid = uuidOfJobStream(stream);
      const position = select.get(uuid, uuid) as number | undefined;
      if (position === undefined) return null;
      keep(stream, position);
      return position;
    },
    note({ type, stream, position }) {
      if (type === 'JobRequested') keep(stream, position);
    },
  };
}
