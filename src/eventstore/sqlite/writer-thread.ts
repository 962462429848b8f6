import { parentPort, workerData } from 'node:worker_threads';
import { StoreUnreadable } from '../port.js';
import { openLogFile } from './schema.js';
import {
  type AppendOutcome,
  type AppendRequest,
  type BatchRequest,
  commitChannel,
  type WriterData,
  type WriterMessage,
} from './writer-protocol.js';

// The thread that writes the log, so that an fsync never holds up the thread that answers calls.

const { path } = workerData as WriterData;

function say(message: WriterMessage): void {
  parentPort?.postMessage(message);
}

function serve(): void {
  const db = openLogFile(path);
  const grown = new BroadcastChannel(commitChannel(path));
  const lastRevision = db.prepare('SELECT max(revision) FROM event WHERE stream = ?').pluck();
  const insert = db.prepare(
    'INSERT INTO event (position, stream, revision, id, type, data, metadata, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  );
  let position = (db.prepare('SELECT max(position) FROM event').pluck().get() as number | null) ?? 0;

  function append(request: AppendRequest, recordedAt: number, last: number): AppendOutcome {
    const { stream, expected, events } = request;
    const actual = (lastRevision.get(stream) as number | null) ?? -1;
    if (expected !== 'any' && actual !== (expected === 'no_stream' ? -1 : expected)) return { actual };
    let revision = actual;
    let at = last;
    for (const event of events) {
      insert.run(++at, stream, ++revision, event.id, event.type, event.data, event.metadata, recordedAt);
    }
    return { revision, position: at };
  }

  const commit = db.transaction((batch: BatchRequest): AppendOutcome[] => {
    let last = position;
    return batch.appends.map((request) => {
      const outcome = append(request, batch.recordedAt, last);
      if ('position' in outcome) last = outcome.position;
      return outcome;
    });
  });

  parentPort?.on('message', (message: BatchRequest | 'close') => {
    if (message === 'close') {
      grown.close();
      db.close();
      parentPort?.close();
      return;
    }
    try {
      const outcomes = commit.immediate(message);
      const before = position;
      for (const outcome of outcomes) if ('position' in outcome) position = outcome.position;
      say({ kind: 'done', outcomes });
      if (position !== before) grown.postMessage(position);
    } catch (error) {
      say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    }
  });
}

try {
  serve();
  say({ kind: 'ready' });
} catch (error) {
  if (!(error instanceof StoreUnreadable)) throw error;
  say({ kind: 'unreadable', message: error.message });
}
