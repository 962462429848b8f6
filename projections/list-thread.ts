import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { candidatesByFilters } from './candidates-by-filters.js';
import { distinctValues } from './distinct-values.js';
import { listJobs } from './job-list.js';
import type { ListQuestion, ListReply, ListRequest, ListThreadData } from './list-protocol.js';
import { Overdue, watch } from './watched.js';

// A thread that answers lists one after the other, so that a long one holds up neither the thread that answers calls nor, by the
// limit of each, those behind it for long.

const { readModelPath, dropped } = workerData as ListThreadData;
const db = new Database(readModelPath, { readonly: true });
db.pragma('cache_size = -65536');

const droppedId = new Int32Array(dropped);
let deadline = 0;
let current = 0;
const watched = watch(db, () => performance.now() > deadline || Atomics.load(droppedId, 0) === current);

function answerTo({ kind, query }: ListQuestion) {
  switch (kind) {
    case 'list':
      return listJobs(db, query, watched);
    case 'candidates':
      return candidatesByFilters(db, query, watched);
    case 'values':
      return distinctValues(db, query, watched);
  }
}

function reply({ id, question, limit }: ListRequest): ListReply {
  current = id;
  deadline = performance.now() + limit;
  try {
    // One transaction, so that a page and its total are of the same moment.
    return { id, kind: 'answer', answer: db.transaction(() => answerTo(question))() };
  } catch (error) {
    if (error instanceof Overdue) return { id, kind: 'overdue', why: error.message };
    return { id, kind: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', (message: ListRequest | 'stop') => {
  if (message !== 'stop') return parentPort?.postMessage(reply(message));
  db.close();
  parentPort?.close();
});
