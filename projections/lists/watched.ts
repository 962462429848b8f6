import type Database from 'better-sqlite3';
import type { TextTest } from './job-filters.js';
import { goOnFunction, testFunction } from './job-filters.js';
import { Overdue } from './list-failures.js';
import { type Sql, sql } from './sql.js';

/** Runs statements that can be stopped: SQLite asks in the middle of them whether to go on. */
export type Watched = {
  /** Asks whether to go on, in the midst of a test. @throws Overdue if not */
  goOn(): void;
  /** A condition that is always true and asks; `position` is a column that is read for every row that is looked at. */
  each(position: string): Sql;
  /** A statement, with the tests that `memoir_test` calls; it is to be run before the next one is asked for. */
  statement(db: Database.Database, text: string, tests?: readonly TextTest[]): Database.Statement;
};

/** How many statements are kept prepared. */
const kept = 200;

/**
 * Gives a connection the functions that the statements call. `overdue` tells whether to stop. It is asked at about one of 64
 * rows, since a call from SQL to here takes longer than to look at a row, and at each test of a text, which may be long.
 */
export function watch(db: Database.Database, overdue: () => boolean): Watched {
  let current: readonly TextTest[] = [];
  const prepared = new Map<string, Database.Statement>();
  const go = () => {
    if (overdue()) throw new Overdue('the time is up');
    return 1;
  };
  db.function(goOnFunction, { deterministic: false }, () => go());
  db.function(testFunction, { deterministic: false }, (n: unknown, text: unknown) => {
    go();
    return current[n as number]?.(text as string) ? 1 : 0;
  });
  return {
    goOn: () => void go(),
    // Rows are picked by a product of the position, since positions may have a period of their own.
    each: (position) => sql(`${position} % 65536 * 40503 >> 8 & 63 <> 0 OR ${goOnFunction}()`),
    statement(connection, text, tests = []) {
      current = tests;
      let statement = prepared.get(text);
      if (!statement) {
        if (prepared.size >= kept) prepared.clear();
        statement = connection.prepare(text);
        prepared.set(text, statement);
      }
      return statement.pluck(false);
    },
  };
}
