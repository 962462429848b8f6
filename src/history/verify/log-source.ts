import { type LeafPage, leafPageBuilder } from '../../domain/log-tree/leaf-page.js';
import type { EventLog, Position, RecordedEvent } from '../../eventstore/port.js';
import { sqliteLeafPages } from '../../eventstore/sqlite/leaf-pages.js';
import { openUncheckedLog } from '../../eventstore/sqlite/unchecked-log.js';

/** Which event something is said of. */
export type EventName = { readonly stream: string; readonly revision: number; readonly type: string };

/** A log that is verified, whatever is wrong with it. */
export type LogSource = {
  /** Its events as leaves, in order. */
  pages(): AsyncIterable<LeafPage>;
  /** Whether positions of events follow each other without gaps, so that a gap is where an event was. */
  readonly dense: boolean;
  /** What stands at a position, as far as it can be read. */
  eventAt(position: Position): Promise<EventName | undefined>;
  /** What is wrong with it beside its events, as lines of text. */
  problems(): readonly string[];
  close(): Promise<void>;
};

/** How the log of an embedded store is read. */
export type SqliteSourceOptions = {
  /** Threads that read and hash. */
  readonly threads: number;
  /** Whether SQLite checks the file's structure and its indexes. */
  readonly structure?: boolean;
};

/** The log in a file of the embedded store, read by threads; a server may be writing it. Throws if it cannot be opened. */
export function sqliteSource(path: string, { threads, structure = false }: SqliteSourceOptions): LogSource {
  const log = openUncheckedLog(path);
  return {
    pages: () => sqliteLeafPages(path, { threads, end: log.end() }),
    dense: log.dense,
    eventAt: async (position) => log.eventAt(position),
    problems: () => [...log.strays(), ...(structure ? log.integrity() : [])],
    close: async () => log.close(),
  };
}

/** A log that gives batches of events, such as that of another store or an export. Reads by this thread alone. */
export function eventSource(
  batches: () => AsyncIterable<readonly RecordedEvent[]>,
  eventAt: (position: Position) => Promise<EventName | undefined> = async () => undefined,
): LogSource {
  return {
    async *pages() {
      for await (const events of batches()) {
        if (events.length === 0) continue;
        const builder = leafPageBuilder(events.length);
        for (const event of events) builder.add(event);
        yield builder.page();
      }
    },
    dense: false,
    eventAt,
    problems: () => [],
    close: async () => undefined,
  };
}

/** The log of any store as its adapter gives it: a damaged event ends the verification. */
export function storeSource(log: EventLog): LogSource {
  return {
    ...eventSource(
      () => batchesOf(log),
      (position) => log.eventAt(position),
    ),
    close: () => log.close(),
  };
}

/** Events of a batch. */
const batchLength = 1_024;

async function* batchesOf(log: EventLog): AsyncGenerator<readonly RecordedEvent[]> {
  let batch: RecordedEvent[] = [];
  for await (const event of log.readAll()) {
    batch.push(event);
    if (batch.length < batchLength) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}
