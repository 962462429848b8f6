import type Database from 'better-sqlite3';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';

/** Positions kept at hand: those of the jobs that have events now. */
const cacheSize = 20_000;

/**
 * SQL that picks the row of the job with a uuid, which is bound to both of its parameters. The index on uuids holds 12 of their
 * digits, since whole ones would make it, and the random writes that keep it, several times as big.
 */
export const whereUuid = 'substr(uuid, 1, 13) = substr(?, 1, 13) AND uuid = ?';

/** SQL that gives the position of the job with the uuid `@uuid`. */
export const findJob = 'SELECT position FROM job WHERE substr(uuid, 1, 13) = substr(@uuid, 1, 13) AND uuid = @uuid';

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
 * Finds where jobs begin by `sql`, which reads the table of a projection that stands before those that ask. What it says of a job
 * never changes, so that these may be rebuilt apart from each other.
 */
export function jobPositions(db: Database.Database, sql: string | undefined): JobPositions {
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
      if (sql === undefined) throw new Error('no projection of the file tells where jobs begin');
      select ??= db.prepare(sql).pluck();
      const position = select.get({ uuid: uuidOfJobStream(stream) }) as number | undefined;
      if (position === undefined) return null;
      keep(stream, position);
      return position;
    },
    note({ type, stream, position, revision }) {
      if (type === 'JobRequested' && revision === 0) keep(stream, position);
    },
  };
}
