import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import { openPastConnection, type PastConnection } from '../history/as-of.js';
import { candidatesByFilters } from './candidates-by-filters.js';
import { distinctValues } from './distinct-values.js';
import { listJobs } from './job-list.js';
import type { ListQuestion, ListReply, ListRequest, ListThreadData } from './list-protocol.js';
import type { ListQuery } from './list-query.js';
import { Overdue, type Watched, watch } from './watched.js';

// A thread that answers lists one after the other, so that a long one holds up neither the thread that answers calls nor, by the
// limit of each, those behind it for long.

const { files, dropped } = workerData as ListThreadData;
const now = new Database(files.readModel, { readonly: true });
now.pragma('cache_size = -65536');

const droppedId = new Int32Array(dropped);
let deadline = 0;
let current = 0;
const overdue = () => performance.now() > deadline || Atomics.load(droppedId, 0) === current;
const watchedNow = watch(now, overdue);
let past: { readonly connection: PastConnection; readonly watched: Watched } | undefined;

/**
 * Most filters of a question that is asked on a connection which is kept. The statements of others take megabytes each, which SQLite gives
 * back for certain when the connection is closed.
 */
const filtersKept = 8;

type Connection = { readonly db: Database.Database; readonly watched: Watched };

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
  if (asOf === undefined) return new Database(files.readModel, { readonly: true });
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

function answerTo({ kind, query }: ListQuestion) {
  switch (kind) {
    case 'list':
      return asked(query, ({ db, watched }) => listJobs(db, query, watched));
    case 'candidates':
      return asked(query, ({ db, watched }) => candidatesByFilters(db, query, watched));
    case 'values':
      return now.transaction(() => distinctValues(now, query, watchedNow))();
  }
}

function reply({ id, question, limit }: ListRequest): ListReply {
  current = id;
  deadline = performance.now() + limit;
  try {
    return { id, kind: 'answer', answer: answerTo(question) };
  } catch (error) {
    if (error instanceof Overdue) return { id, kind: 'overdue', why: error.message };
    const ofFile = error instanceof Database.SqliteError;
    return { id, kind: 'failed', message: error instanceof Error ? error.message : String(error), ofFile };
  }
}

parentPort?.on('message', (message: ListRequest | 'stop') => {
  if (message !== 'stop') return parentPort?.postMessage(reply(message));
  now.close();
  past?.connection.db.close();
  parentPort?.close();
});
