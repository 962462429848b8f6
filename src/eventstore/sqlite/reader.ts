import type Database from 'better-sqlite3';
import {
  type Batch,
  type EventLog,
  type Position,
  type ReadOptions,
  type RecordedEvent,
  type SubscribeOptions,
  start,
} from '../port.js';
import { openLogReader } from './schema.js';
import { commitChannel } from './writer-protocol.js';

/** Rows that are read at once, so that no read holds the log's checkpoint up. */
const pageSize = 1_000;

const columns = 'position, stream, revision, id, type, data, metadata, recorded_at AS recordedAt';

/** Reads the log at `path`, in any thread of the process that writes it. */
export function openReader(path: string): EventLog {
  const db = openLogReader(path);
  const grown = new BroadcastChannel(commitChannel(path));
  const closed = new AbortController();
  let growth = 0;
  let sleepers: (() => void)[] = [];

  function wake(): void {
    growth++;
    const woken = sleepers;
    sleepers = [];
    for (const wakeUp of woken) wakeUp();
  }
  grown.onmessage = wake;
  (grown as unknown as { unref(): void }).unref();

  const select = statements(db);

  async function* readStream(stream: string, from?: number, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    let next = from ?? (backwards ? Number.MAX_SAFE_INTEGER : 0);
    yield* pages(options.limit, (size) => {
      const rows = (backwards ? select.streamBackwards : select.streamForwards).all(
        stream,
        next,
        size,
      ) as RecordedEvent[];
      const last = rows.at(-1);
      if (last) next = last.revision + (backwards ? -1 : 1);
      return rows;
    });
  }

  async function* readAll(after?: Position, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    let last = after ?? (backwards ? Number.MAX_SAFE_INTEGER : start);
    yield* pages(options.limit, (size) => {
      const rows = (backwards ? select.allBackwards : select.allForwards).all(last, size) as RecordedEvent[];
      last = rows.at(-1)?.position ?? last;
      return rows;
    });
  }

  async function* subscribeAll(after: Position = start, options: SubscribeOptions = {}): AsyncGenerator<Batch> {
    const size = options.batchSize ?? pageSize;
    const stop = options.signal ? AbortSignal.any([options.signal, closed.signal]) : closed.signal;
    let position = after;
    let told = false;
    while (!stop.aborted) {
      const seen = growth;
      const events = select.allForwards.all(position, size) as RecordedEvent[];
      const live = events.length < size;
      position = events.at(-1)?.position ?? position;
      if (events.length > 0 || !told) yield { events, position, live };
      told = live;
      if (live && growth === seen) await sleep(stop);
    }
  }

  function sleep(stop: AbortSignal): Promise<void> {
    if (stop.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        stop.removeEventListener('abort', done);
        resolve();
      };
      stop.addEventListener('abort', done);
      sleepers.push(done);
    });
  }

  return {
    readStream,
    readAll,
    subscribeAll,
    async end() {
      return (select.end.get() as number | null) ?? start;
    },
    async close() {
      if (closed.signal.aborted) return;
      closed.abort();
      wake();
      grown.close();
      db.close();
    },
  };
}

function statements(db: Database.Database) {
  return {
    streamForwards: db.prepare(
      `SELECT ${columns} FROM event WHERE stream = ? AND revision >= ? ORDER BY revision LIMIT ?`,
    ),
    streamBackwards: db.prepare(
      `SELECT ${columns} FROM event WHERE stream = ? AND revision <= ? ORDER BY revision DESC LIMIT ?`,
    ),
    allForwards: db.prepare(`SELECT ${columns} FROM event WHERE position > ? ORDER BY position LIMIT ?`),
    allBackwards: db.prepare(`SELECT ${columns} FROM event WHERE position < ? ORDER BY position DESC LIMIT ?`),
    end: db.prepare('SELECT max(position) FROM event').pluck(),
  };
}

async function* pages(
  limit: number | undefined,
  read: (size: number) => RecordedEvent[],
): AsyncGenerator<RecordedEvent> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  while (left > 0) {
    const size = Math.min(pageSize, left);
    const rows = read(size);
    yield* rows;
    if (rows.length < size) return;
    left -= rows.length;
  }
}
