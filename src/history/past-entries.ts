import { LRUCache } from 'lru-cache';
import type { EventLog, Position, RecordedEvent } from '../eventstore/port.js';
import { firstAfter, type LogEntry } from './log-entry.js';

/** Events, and bytes about, that are read at once: a page. */
const pageEvents = 128;
const pageBytes = 512 * 1024;

/** Bytes of the pages that are kept, about; those that were not read for the longest time go first. */
const keptBytes = 48 * 1024 * 1024;

/** Pages that are read at a time. */
const readsAtOnce = 4;

/** Where a reader of the past is: the position that its page begins behind. A page belongs to nobody. */
export type PastCursor = { page: Position };

/** The past of the log for all who are behind, in pages that they share: whoever begins at the same place reads the same ones. */
export type PastEntries<Message> = {
  /**
   * The first event after a position; undefined if there is none now.
   * @throws StoreUnavailable, or what `seen` throws
   */
  after(cursor: PastCursor, position: Position): Promise<LogEntry<Message> | undefined>;
};

type Page<Message> = {
  readonly entries: readonly LogEntry<Message>[];
  readonly end: Position;
  readonly size: number;
};

/** Readers of the past of a log. `seen` resolves when the read model has come to a position. */
export function pastEntries<Message>(
  log: Pick<EventLog, 'readAll'>,
  seen: (position: Position) => Promise<void>,
  entryOf: (recorded: RecordedEvent) => LogEntry<Message>,
): PastEntries<Message> {
  const pages = new LRUCache<Position, Page<Message>>({ maxSize: keptBytes, sizeCalculation: ({ size }) => size + 1 });
  const underWay = new Map<Position, Promise<Page<Message>>>();
  const queue: (() => void)[] = [];
  let reading = 0;

  async function read(position: Position): Promise<Page<Message>> {
    if (reading >= readsAtOnce) await new Promise<void>((resolve) => queue.push(resolve));
    reading++;
    try {
      const entries: LogEntry<Message>[] = [];
      let size = 0;
      for await (const recorded of log.readAll(position, { limit: pageEvents })) {
        const entry = entryOf(recorded);
        entries.push(entry);
        size += entry.size;
        if (size >= pageBytes) break;
      }
      const end = entries.at(-1)?.place.position ?? position;
      await seen(end);
      const page = { entries, end, size };
      // The last page of the log may be longer the next time.
      if (entries.length === pageEvents || size >= pageBytes) pages.set(position, page);
      return page;
    } finally {
      reading--;
      queue.shift()?.();
    }
  }

  function load(position: Position): Promise<Page<Message>> {
    let loading = underWay.get(position);
    if (!loading) {
      loading = read(position).finally(() => underWay.delete(position));
      underWay.set(position, loading);
    }
    return loading;
  }

  return {
    async after(cursor, position) {
      let page = pages.get(cursor.page);
      if (!page || position < cursor.page || position >= page.end) {
        cursor.page = position;
        page = pages.get(position) ?? (await load(position));
      }
      return page.entries[firstAfter(page.entries, position)];
    },
  };
}
