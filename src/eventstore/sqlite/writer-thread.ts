import { parentPort, workerData } from 'node:worker_threads';
import { packError } from '../../threads/sent-error.js';
import { checksum } from './checksum.js';
import { identityOf } from './claim-file.js';
import { columns } from './rows.js';
import { openLogFile } from './schema.js';
import {
  type AppendOutcome,
  type AppendRequest,
  type BatchRequest,
  commitChannel,
  replacedFile,
  unpackAppends,
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
  const lastPosition = db.prepare('SELECT max(position) FROM event').pluck();
  const insert = db.prepare(`INSERT INTO event (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  let position = (lastPosition.get() as number | null) ?? 0;
  const ownFile = identityOf(path);
  let ownWal: string | undefined;

  /** Which of the files was removed or exchanged since it was opened. */
  function replaced(): string | undefined {
    if (identityOf(path) !== ownFile) return path;
    const wal = identityOf(`${path}-wal`);
    ownWal ??= wal;
    return wal === undefined || wal !== ownWal ? `${path}-wal` : undefined;
  }

  function append(request: AppendRequest, recordedAt: number, last: number): AppendOutcome {
    const { stream, expected, events } = request;
    const actual = (lastRevision.get(stream) as number | null) ?? -1;
    if (expected !== 'any' && actual !== (expected === 'no_stream' ? -1 : expected)) return { actual };
    let revision = actual;
    let at = last;
    for (const { id, type, data, metadata } of events) {
      at++;
      revision++;
      const sum = checksum({ position: at, stream, revision, id, type, data, metadata, recordedAt });
      insert.run(at, stream, revision, id, type, data, metadata, recordedAt, sum);
    }
    return { revision, position: at };
  }

  const commit = db.transaction((batch: BatchRequest): AppendOutcome[] => {
    let last = position;
    return unpackAppends(batch.appends).map((request) => {
      const outcome = append(request, batch.recordedAt, last);
      if ('position' in outcome) last = outcome.position;
      return outcome;
    });
  });

  function write(batch: BatchRequest): void {
    const outcomes = commit.immediate(batch);
    const before = position;
    for (const outcome of outcomes) if ('position' in outcome) position = outcome.position;
    const lost = replaced();
    say(lost === undefined ? { kind: 'done', outcomes } : { kind: 'replaced', message: replacedFile(lost) });
    if (position !== before) grown.postMessage(position);
  }

  parentPort?.on('message', (message: BatchRequest | 'close') => {
    if (message === 'close') {
      grown.close();
      // So that after an orderly end the one file is the whole log.
      ignoringErrors(() => db.pragma('wal_checkpoint(TRUNCATE)'));
      db.close();
      parentPort?.close();
      return;
    }
    try {
      write(message);
    } catch (error) {
      ignoringErrors(() => {
        position = (lastPosition.get() as number | null) ?? 0;
      });
      say({ kind: 'failed', error: packError(error) });
    }
  });
}

function ignoringErrors(action: () => void): void {
  try {
    action();
  } catch {
    // What follows does without it.
  }
}

try {
  serve();
  say({ kind: 'ready' });
} catch (error) {
  say({ kind: 'unopened', error: packError(error) });
}
