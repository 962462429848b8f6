import type Database from 'better-sqlite3';
import { type Position, start } from '../../src/eventstore/port.js';
import type { Projection } from '../running/projection.js';

/** Events between two rows. */
const stride = 256;

/**
 * When the log was recorded: after every 256th event its position and the latest time of any event up to it, in milliseconds since
 * 1970-01-01T00:00Z. That time never goes back, as that of the events may where a clock was set. `log_time_tail` has the same of the
 * events so far, and how many they are.
 */
export const logTimes: Projection = {
  name: 'log-times',
  version: 1,
  tables: ['log_time', 'log_time_tail'],
  schema: `
    CREATE TABLE log_time (
      position INTEGER PRIMARY KEY,
      latest INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX log_time_latest ON log_time (latest, position);
    CREATE TABLE log_time_tail (
      events INTEGER NOT NULL,
      latest INTEGER NOT NULL
    ) STRICT;
    INSERT INTO log_time_tail (events, latest) VALUES (0, ${Number.MIN_SAFE_INTEGER});
  `,
  prepareBatch(db) {
    const tail = db.prepare('SELECT events, latest FROM log_time_tail');
    const insert = db.prepare('INSERT INTO log_time (position, latest) VALUES (?, ?)');
    const save = db.prepare('UPDATE log_time_tail SET events = ?, latest = ?');
    return (recordedEvents) => {
      let { events, latest } = tail.get() as Tail;
      for (const { position, recordedAt } of recordedEvents) {
        events++;
        latest = Math.max(latest, recordedAt);
        if (events % stride === 0) insert.run(position, latest);
      }
      save.run(events, latest);
    };
  },
};

type Tail = { readonly events: number; readonly latest: number };

/** Reads of the times. */
export function logTimeQueries(db: Database.Database) {
  const before = db
    .prepare('SELECT position FROM log_time WHERE latest < ? ORDER BY latest DESC, position DESC LIMIT 1')
    .pluck();
  const upTo = db.prepare('SELECT latest FROM log_time WHERE position <= ? ORDER BY position DESC LIMIT 1').pluck();
  const tail = db.prepare('SELECT events, latest FROM log_time_tail');
  return {
    /**
     * A position up to which every event was recorded before a time, in milliseconds since 1970-01-01T00:00Z; fewer than 256 events
     * after it, or after the position of the read model, the first one follows that was not.
     */
    before: (time: number): Position => (before.get(time) as Position | undefined) ?? start,
    /**
     * About when the log came to a position, in milliseconds since 1970-01-01T00:00Z: the latest time of events up to it, less those
     * of the last 256; 0 near the beginning.
     */
    latest: (position: Position) => (upTo.get(position) as number | undefined) ?? 0,
    /** How many events there are up to the position of the read model. */
    events: () => (tail.get() as Tail).events,
  };
}
