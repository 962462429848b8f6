import type Database from 'better-sqlite3';

/** What an entry of the ledger is about. */
export const entryKinds = {
  /** An answer with a complete job. */
  reused: 1,
  /** An unfinished job that somebody had joined gave a result. */
  joined: 2,
  /** A run that gave the result of its job. */
  result: 3,
  /** A run that ended without one. */
  noResult: 4,
  /** A run of a second run of another job, however it ended. */
  check: 5,
} as const;

/** Number of such a kind. */
export type EntryKind = (typeof entryKinds)[keyof typeof entryKinds];

/** How many entries are added up in one block: the more, the fewer rows are added up, and the more single entries are read at the end. */
export const blockSize = 16_384;

/** Milliseconds of a day. */
export const dayMs = 86_400_000;

/**
 * SQL that makes the ledger. `saving` is never changed but at its end, and its entries are in the order of the log, so that what was known at any position of it is a
 * beginning of the ledger. Each full block of entries stands in `saving_block` added up. Days are counted from 1970-01-01 in UTC, `ms` is time of runs
 * in milliseconds, below 0 where an entry is taken back.
 */
export const ledgerTables = `
    CREATE TABLE saving (
      number INTEGER PRIMARY KEY,
      position INTEGER NOT NULL,
      day INTEGER NOT NULL,
      kind INTEGER NOT NULL,
      party INTEGER NOT NULL,
      place INTEGER NOT NULL,
      answers INTEGER NOT NULL,
      ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE saving_block (
      day INTEGER NOT NULL,
      block INTEGER NOT NULL,
      kind INTEGER NOT NULL,
      party INTEGER NOT NULL,
      place INTEGER NOT NULL,
      answers INTEGER NOT NULL,
      ms INTEGER NOT NULL,
      PRIMARY KEY (day, block, kind, party, place)
    ) STRICT, WITHOUT ROWID;`;

/** An entry to be added. */
export type Entry = {
  readonly position: number;
  /** Milliseconds since 1970-01-01T00:00Z that tell the day. */
  readonly at: number;
  readonly kind: EntryKind;
  /** Number of who, where and what. */
  readonly party: number;
  /** Number of the labels of the worker. */
  readonly place: number;
  readonly answers: number;
  readonly ms: number;
};

/** The day of a time, both as in the ledger. */
export function dayOf(ms: number): number {
  return Math.floor(ms / dayMs);
}

/** Adds entries at the end, each block being `size` of them. */
export function ledgerWriter(db: Database.Database, size: number): (entry: Entry) => void {
  const insert = db.prepare(
    'INSERT INTO saving (number, position, day, kind, party, place, answers, ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const addUp = db.prepare(`
    INSERT INTO saving_block (day, block, kind, party, place, answers, ms)
    SELECT day, ?, kind, party, place, sum(answers), sum(ms) FROM saving WHERE number BETWEEN ? AND ?
    GROUP BY day, kind, party, place`);
  let last = lastNumber(db);
  return ({ position, at, kind, party, place, answers, ms }) => {
    insert.run(++last, position, dayOf(at), kind, party, place, answers, ms);
    if (last % size === 0) addUp.run(last / size - 1, last - size + 1, last);
  };
}

function lastNumber(db: Database.Database): number {
  return (db.prepare('SELECT max(number) FROM saving').pluck().get() as number | null) ?? 0;
}

/** What entries of one kind, party and place come to. */
export type Sum = Pick<Entry, 'kind' | 'party' | 'place' | 'answers' | 'ms'> & { readonly day: number };

/** Reads of the ledger, whose blocks are `size` entries each. */
export function ledgerQueries(db: Database.Database, size: number) {
  const positionOf = db.prepare('SELECT position FROM saving WHERE number = ?').pluck();
  const nextDay = db.prepare('SELECT min(day) FROM saving_block WHERE day >= ?').pluck();
  const nextBlock = db.prepare('SELECT min(block) FROM saving_block WHERE day = ? AND block >= ?').pluck();
  const sums = 'kind, party, place, sum(answers) AS answers, sum(ms) AS ms';
  const ofBlocks = db.prepare(`
    SELECT day, ${sums} FROM saving_block WHERE day = ? AND block BETWEEN ? AND ? GROUP BY kind, party, place`);
  const ofEntries = db.prepare(`
    SELECT day, ${sums} FROM saving WHERE number BETWEEN ? AND ? AND day BETWEEN ? AND ? GROUP BY day, kind, party, place`);
  return {
    /** How many entries there are up to a position of the log. */
    entriesUpTo(position: number): number {
      let [known, beyond] = [0, lastNumber(db) + 1];
      while (beyond - known > 1) {
        const middle = Math.floor((known + beyond) / 2);
        if ((positionOf.get(middle) as number) <= position) known = middle;
        else beyond = middle;
      }
      return known;
    },
    /** The first day from `day` on of which a block has an entry; undefined if there is none. */
    nextDay: (day: number) => (nextDay.get(day) as number | null) ?? undefined,
    /** The first block from `block` on, counted from 0, that has an entry of a day; undefined if there is none. */
    nextBlock: (day: number, block: number) => (nextBlock.get(day, block) as number | null) ?? undefined,
    /** What the entries of a day in some blocks come to, both ends included. */
    ofBlocks: (day: number, first: number, last: number) => ofBlocks.all(day, first, last) as Sum[],
    /** What single entries come to, by their numbers and days, all ends included. */
    ofEntries: (first: number, last: number, firstDay: number, lastDay: number) =>
      ofEntries.all(first, last, firstDay, lastDay) as Sum[],
    /** How many of the first entries stand in full blocks, and how many blocks that are. */
    full(entries: number): { readonly blocks: number; readonly entries: number } {
      const blocks = Math.floor(entries / size);
      return { blocks, entries: blocks * size };
    },
  };
}
