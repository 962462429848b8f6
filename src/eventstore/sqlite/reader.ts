import { setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { quote } from '../../domain/errors.js';
import {
  type Batch,
  type EventLog,
  type Position,
  type ReadOptions,
  type RecordedEvent,
  StoreUnavailable,
  StoreUnreadable,
  type SubscribeOptions,
  start,
} from '../port.js';
import { isDamage } from './is-damage.js';
import { columns, type EventRow, eventFromRow } from './rows.js';
import { openLogReader } from './schema.js';
import { commitChannel } from './writer-protocol.js';

/** Rows that are read at once, so that no read holds the log's checkpoint up. */
const pageSize = 1_000;

/** Characters of data and metadata after which a page ends early, so that big events do not fill the memory. */
const pageCharacters = 8 * 1024 * 1024;

/** Events that were read at once; `end` is true if nothing followed them. */
type Page = { readonly events: RecordedEvent[]; readonly end: boolean };

/** Reads the log at `path`, in any thread of the process that writes it. */
export function openReader(path: string, db = openLogReader(path)): EventLog {
  const select = statements(db);
  const grown = new BroadcastChannel(commitChannel(path));
  const closed = new AbortController();
  let growth = 0;
  let sleepers = new Set<() => void>();

  function wake(): void {
    growth++;
    const woken = sleepers;
    sleepers = new Set();
    for (const wakeUp of woken) wakeUp();
  }
  grown.onmessage = wake;
  (grown as unknown as { unref(): void }).unref();

  function read(statement: Database.Statement, parameters: readonly unknown[], size: number): Page {
    if (closed.signal.aborted) throw new StoreUnavailable(`the event log ${quote(path)} is closed`);
    return readable(path, () => {
      const events: RecordedEvent[] = [];
      let characters = 0;
      for (const row of statement.iterate(...parameters, size) as IterableIterator<EventRow>) {
        const event = eventFromRow(path, row);
        events.push(event);
        characters += event.data.length + event.metadata.length;
        if (characters >= pageCharacters) return { events, end: false };
      }
      return { events, end: events.length < size };
    });
  }

  async function* readStream(stream: string, from?: number, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    const statement = backwards ? select.streamBackwards : select.streamForwards;
    let next = from ?? (backwards ? Number.MAX_SAFE_INTEGER : 0);
    yield* pages(options.limit, (size) => {
      const page = read(statement, [stream, next], size);
      const last = page.events.at(-1);
      if (last) next = last.revision + (backwards ? -1 : 1);
      return page;
    });
  }

  async function* readAll(after?: Position, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    const statement = backwards ? select.allBackwards : select.allForwards;
    let last = after ?? (backwards ? Number.MAX_SAFE_INTEGER : start);
    yield* pages(options.limit, (size) => {
      const page = read(statement, [last], size);
      last = page.events.at(-1)?.position ?? last;
      return page;
    });
  }

  async function* subscribeAll(after: Position = start, options: SubscribeOptions = {}): AsyncGenerator<Batch> {
    const size = options.batchSize ?? pageSize;
    if (!Number.isSafeInteger(size) || size < 1) throw new RangeError(`a batchSize of ${size}; it must be 1 or more`);
    const stop = options.signal ? AbortSignal.any([options.signal, closed.signal]) : closed.signal;
    let position = after;
    let told = false;
    while (!stop.aborted) {
      const seen = growth;
      const { events, end: live } = read(select.allForwards, [position], size);
      position = events.at(-1)?.position ?? position;
      if (events.length > 0 || !told) yield { events, position, live };
      told = live;
      if (!live) await nextTurn();
      else if (growth === seen) await sleep(stop);
    }
  }

  function sleep(stop: AbortSignal): Promise<void> {
    if (stop.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        sleepers.delete(done);
        stop.removeEventListener('abort', done);
        resolve();
      };
      stop.addEventListener('abort', done);
      sleepers.add(done);
    });
  }

  return {
    readStream,
    readAll,
    subscribeAll,
    async eventAt(position) {
      return read(select.at, [position], 1).events[0];
    },
    async end() {
      if (closed.signal.aborted) throw new StoreUnavailable(`the event log ${quote(path)} is closed`);
      return readable(path, () => (select.end.get() as number | null) ?? start);
    },
    async close() {
      if (closed.signal.aborted) return;
      closed.abort();
      grown.close();
      db.close();
    },
  };
}

function statements(db: Database.Database) {
  const rows = (rest: string) => db.prepare(`SELECT ${columns} FROM event WHERE ${rest} LIMIT ?`).raw();
  return {
    streamForwards: rows('stream = ? AND revision >= ? ORDER BY revision'),
    streamBackwards: rows('stream = ? AND revision <= ? ORDER BY revision DESC'),
    allForwards: rows('position > ? ORDER BY position'),
    allBackwards: rows('position < ? ORDER BY position DESC'),
    at: rows('position = ?'),
    end: db.prepare('SELECT max(position) FROM event').pluck(),
  };
}

async function* pages(limit: number | undefined, read: (size: number) => Page): AsyncGenerator<RecordedEvent> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  while (left > 0) {
    const { events, end } = read(Math.min(pageSize, left));
    yield* events;
    left -= events.length;
    if (end) return;
    // A long read must let the calls of others through.
    if (left > 0) await nextTurn();
  }
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    if (isDamage(error)) {
      throw new StoreUnreadable(`the event log ${quote(path)} is damaged: ${error.message}`, error);
    }
    throw new StoreUnavailable(`the event log ${quote(path)} cannot be read: ${error.message}`, error);
  }
}
