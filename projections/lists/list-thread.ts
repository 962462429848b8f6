import Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import { serveThread } from '../../src/threads/serve-thread.js';
import { openPastConnection, type PastConnection, type PastFiles } from '../history/as-of.js';
import { type CandidatesQuery, candidatesByFilters } from './candidates-by-filters.js';
import { distinctValues, type ValuesQuery } from './distinct-values.js';
import { listJobs } from './job-list.js';
import { FileTrouble } from './list-failures.js';
import type { ListQuery } from './list-query.js';
import { type Watched, watch } from './watched.js';

// A thread that answers lists one after the other, so that a long one holds up neither the thread that answers calls nor, by the
// limit of each, those behind it for long.

/** What a thread for lists is started with. */
export type ListThreadData = {
  readonly files: PastFiles;
  /**
   * One number of 32 bits: that of the question that nobody waits for any more. It is shared memory, since a thread that is in the middle
   * of a statement takes no message.
   */
  readonly dropped: SharedArrayBuffer;
};

/** A question, its number from 1 on, and how long the answer may take, in milliseconds. */
export type Turn<Query> = { readonly id: number; readonly limit: number; readonly query: Query };

/**
 * Most filters of a question that is asked on a connection which is kept. The statements of others take megabytes each, which SQLite gives
 * back for certain when the connection is closed.
 */
const filtersKept = 8;

type Connection = { readonly db: Database.Database; readonly watched: Watched };

function open({ files, dropped }: ListThreadData) {
  const now = blamingFiles(() => {
    const db = openNow();
    db.pragma('cache_size = -65536');
    return db;
  });
  const droppedId = new Int32Array(dropped);
  let deadline = 0;
  let current = 0;
  const overdue = () => performance.now() > deadline || Atomics.load(droppedId, 0) === current;
  const watchedNow = watch(now, overdue);
  let past: { readonly connection: PastConnection; readonly watched: Watched } | undefined;

  function openNow(): Database.Database {
    return new Database(files.readModel, { readonly: true });
  }

  /** The connection that shows the past, which most servers are seldom asked for, or that of now. */
  function connectionTo(asOf: Position | undefined): Connection {
    if (asOf === undefined) return { db: now, watched: watchedNow };
    if (!past) {
      const connection = openPastConnection(files);
      past = { connection, watched: watch(connection.db, overdue) };
    }
    past.connection.moveTo(asOf);
    return { db: past.connection.db, watched: past.watched };
  }

  /** A connection for one question. */
  function ownConnection(asOf: Position | undefined): Database.Database {
    if (asOf === undefined) return openNow();
    const connection = openPastConnection(files);
    connection.moveTo(asOf);
    return connection.db;
  }

  /** Asks in one transaction, so that a page and its total are of the same moment. */
  function asked<Answer>(
    { asOf, filters }: Pick<ListQuery, 'asOf' | 'filters'>,
    ask: (connection: Connection) => Answer,
  ): Answer {
    if (filters.length <= filtersKept) {
      const connection = connectionTo(asOf);
      return connection.db.transaction(() => ask(connection))();
    }
    const db = ownConnection(asOf);
    try {
      return db.transaction(() => ask({ db, watched: watch(db, overdue) }))();
    } finally {
      db.close();
    }
  }

  /** A method that answers within the limit. @throws Overdue if it cannot; FileTrouble if a file that is read is to blame */
  function limited<Query, Answer>(answer: (query: Query) => Answer) {
    return ({ id, limit, query }: Turn<Query>): Answer => {
      current = id;
      deadline = performance.now() + limit;
      return blamingFiles(() => answer(query));
    };
  }

  return {
    /** A page of jobs. */
    list: limited((query: ListQuery) => asked(query, ({ db, watched }) => listJobs(db, query, watched))),
    /** The candidates of a request with filters. */
    candidates: limited((query: CandidatesQuery) =>
      asked(query, ({ db, watched }) => candidatesByFilters(db, query, watched)),
    ),
    /** The different values of a field. */
    values: limited((query: ValuesQuery) => now.transaction(() => distinctValues(now, query, watchedNow))()),
    close() {
      now.close();
      past?.connection.db.close();
    },
  };
}

/** What SQLite fails of is the trouble of a file. */
function blamingFiles<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof Database.SqliteError ? new FileTrouble(error.message, { cause: error }) : error;
  }
}

/** The thread's type. */
export type ListThread = typeof open;

serveThread(open);
