import type Database from 'better-sqlite3';
import { steadyTimes, witnesses } from '../../src/domain/log-time.js';
import { type Position, start } from '../../src/eventstore/port.js';
import type { Projection } from '../running/projection.js';

/** Events in a row. */
const width = 256;

/** How many rows after one its times depend on. */
const after = witnesses / width;

/**
 * When the log was recorded: in rows of 256 events their positions and recorded times, in milliseconds since 1970-01-01T00:00Z, and once
 * no later event changes it, `latest`: when the log came to the last of them, as `steadyTimes` has it. That never goes back.
 */
export const logTimes: Projection = {
  name: 'log-times',
  version: 2,
  tables: ['log_time'],
  schema: `
    CREATE TABLE log_time (
      tile INTEGER PRIMARY KEY,
      first INTEGER NOT NULL,
      positions BLOB NOT NULL,
      times BLOB NOT NULL,
      latest INTEGER
    ) STRICT;
    CREATE INDEX log_time_first ON log_time (first);
    CREATE INDEX log_time_latest ON log_time (latest, tile);
  `,
  prepareBatch(db) {
    const put = db.prepare('INSERT OR REPLACE INTO log_time (tile, first, positions, times) VALUES (?, ?, ?, ?)');
    const settle = db.prepare('UPDATE log_time SET latest = ? WHERE tile = ?');
    const rows = tiles(db);

    /** Sets `latest` of a row that no later event changes any more. */
    function settleTile(tile: number): void {
      const { times } = rows.section(tile, tile + after);
      settle.run(steadyTimes(times, width, rows.latest(tile - 1)).at(-1), tile);
    }

    return (recordedEvents) => {
      let { tile, positions, times } = rows.last();
      const save = () => put.run(tile, positions[0], bytesOf(positions), bytesOf(times));
      for (const { position, recordedAt } of recordedEvents) {
        if (times.length === width) [tile, positions, times] = [tile + 1, [], []];
        positions.push(position);
        times.push(recordedAt);
        if (times.length < width) continue;
        save();
        if (tile >= after) settleTile(tile - after);
      }
      if (times.length < width) save();
    };
  },
};

/** A section of the log: positions of events and the times that were recorded with them. */
type Section = { readonly positions: number[]; readonly times: number[] };

type TileRow = { readonly tile: number; readonly positions: Buffer; readonly times: Buffer };

const bytesOf = (numbers: readonly number[]) => Buffer.from(Float64Array.from(numbers).buffer);

/** The numbers that bytes hold, which may stand anywhere in memory. */
const numbersOf = (bytes: Buffer) => [...new Float64Array(new Uint8Array(bytes).buffer)];

function tiles(db: Database.Database) {
  const between = db.prepare('SELECT tile, positions, times FROM log_time WHERE tile BETWEEN ? AND ? ORDER BY tile');
  const last = db.prepare('SELECT tile, positions, times FROM log_time ORDER BY tile DESC LIMIT 1');
  const latest = db.prepare('SELECT latest FROM log_time WHERE tile = ?').pluck();
  return {
    /** The events of some rows, those of the last one included. */
    section(first: number, final: number): Section {
      const found = between.all(first, final) as TileRow[];
      return {
        positions: found.flatMap(({ positions }) => numbersOf(positions)),
        times: found.flatMap(({ times }) => numbersOf(times)),
      };
    },
    /** The last row; an empty one if there is none. */
    last(): Section & { readonly tile: number } {
      const row = last.get() as TileRow | undefined;
      return row
        ? { tile: row.tile, positions: numbersOf(row.positions), times: numbersOf(row.times) }
        : { tile: 0, positions: [], times: [] };
    },
    /** When the log came to the last event of a row that later events do not change; the least number if there is none. */
    latest: (tile: number) => (latest.get(tile) as number | null | undefined) ?? Number.MIN_SAFE_INTEGER,
  };
}

/** Reads of the times. */
export function logTimeQueries(db: Database.Database) {
  const settledBefore = db
    .prepare('SELECT tile FROM log_time WHERE latest < ? AND tile < ? ORDER BY latest DESC, tile DESC LIMIT 1')
    .pluck();
  const tileOf = db.prepare('SELECT tile FROM log_time WHERE first <= ? ORDER BY first DESC LIMIT 1').pluck();
  const rows = tiles(db);

  /** Rows from the first one on, before `end`, to whose last event the log came at `time` or later, with the times as known at `now`. */
  function* timesFrom(time: number, end: number, now: number): Generator<Section> {
    const settled = (settledBefore.get(time, end) as number | undefined) ?? -1;
    let floor = rows.latest(settled);
    for (let tile = settled + 1; ; tile++) {
      const { positions, times: recorded } = rows.section(tile, tile + after);
      const times = steadyTimes(recorded, Math.min(width, recorded.length), floor, now);
      yield { positions: positions.slice(0, width), times };
      if (times.length < width) return;
      floor = times.at(-1) as number;
    }
  }

  return {
    /**
     * Position of the last event before the first one to which the log came at a time or later, in milliseconds since
     * 1970-01-01T00:00Z, as `steadyTimes` has it; `now` is the present, and the time is not after it.
     */
    before: db.transaction((time: number, now: number): Position => {
      const settled = (settledBefore.get(time, Number.MAX_SAFE_INTEGER) as number | undefined) ?? -1;
      let found = rows.section(settled, settled).positions.at(-1) ?? start;
      // More than one row only where times after now are passed over, which the rows have as they were recorded.
      for (const { positions, times } of timesFrom(time, Number.MAX_SAFE_INTEGER, now)) {
        const index = times.findIndex((one) => one >= time);
        found = positions[(index < 0 ? times.length : index) - 1] ?? found;
        if (index >= 0) break;
      }
      return found;
    }),
    /** When the log came to a position, in milliseconds since 1970-01-01T00:00Z, as known at `now`; 0 before its first event. */
    at: db.transaction((position: Position, now: number): number => {
      let found = 0;
      const tile = (tileOf.get(position) as number | undefined) ?? 0;
      for (const { positions, times } of timesFrom(now + 1, tile, now)) {
        const behind = positions.findIndex((one) => one > position);
        found = times[(behind < 0 ? times.length : behind) - 1] ?? found;
        if (behind >= 0) break;
      }
      return Math.max(0, found);
    }),
    /** How many events there are up to the position of the history. */
    events(): number {
      const { tile, times } = rows.last();
      return tile * width + times.length;
    },
  };
}
