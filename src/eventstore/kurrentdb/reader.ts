import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { quote } from '../../domain/errors.js';
import { type Position, type ReadOptions, type RecordedEvent, start } from '../port.js';
import type { Connection } from './connection.js';
import { breaksClient, failureOf, isInvalidPosition } from './failure.js';
import type { Patience } from './patience.js';
import { logRequest, openRead, type ReadRequest, readToEnd, streamRequest } from './read-call.js';
import { recordedFrom } from './recorded.js';
import type { KurrentUrl } from './url.js';

/** Events in the first page of a read, while their size is not known, and in a page at most. */
const firstPage = 64;
const largestPage = 1_000;

/** Characters of data that a page should have at most, so that big events do not fill the memory. */
const pageCharacters = 8 * 1024 * 1024;

/**
 * Reads under way at once by one client. A connection takes 100 calls at a time; one more waits without a word, for as long as the others take,
 * and would be taken for one that is not answered.
 */
const maxUnderWay = 64;

/** Events that were read at once; `end` is true if nothing followed them. */
export type Page = { readonly events: readonly RecordedEvent[]; readonly end: boolean };

/** Reads of streams and of the log. */
export type Reader = {
  readStream(stream: string, from?: number, options?: ReadOptions): AsyncIterable<RecordedEvent>;
  readAll(after?: Position, options?: ReadOptions): AsyncIterable<RecordedEvent>;
  /** As `readStream`, without another attempt after a failure. Throws as the client does. */
  tryStream(stream: string, from?: number, options?: ReadOptions): AsyncIterable<RecordedEvent>;
  /** One attempt to read what follows `after`. Throws as the client does. */
  pageAfter(after: Position, size: number): Promise<Page>;
  eventAt(position: Position): Promise<RecordedEvent | undefined>;
  end(): Promise<Position>;
  /** As `eventAt` and `end`, without another attempt after a failure. Throw as the client does. */
  readonly once: Pick<Reader, 'eventAt' | 'end'>;
};

/** Reads by `connection`, always from the leader, so that no read is older than a write before it. */
export function readerOf(connection: Connection, { address, credentials }: KurrentUrl, patience: Patience): Reader {
  // How often reads by a client have failed in succession.
  const failures = new WeakMap<KurrentDBClient, number>();

  const turns = turnsOf(maxUnderWay);

  /** One attempt at one page, which is read to its end. */
  async function fetch(request: ReadRequest): Promise<RecordedEvent[]> {
    const done = await turns.begin();
    try {
      return await fetchNow(request);
    } finally {
      done();
    }
  }

  async function fetchNow(request: ReadRequest): Promise<RecordedEvent[]> {
    const client = connection.client();
    const events: RecordedEvent[] = [];
    try {
      const call = openRead(client, request, { credentials, requiresLeader: true });
      await readToEnd(call, patience.timings.answerTimeout, ({ event }) => {
        if (event) events.push(recordedFrom(address, event));
      });
      failures.delete(client);
      return events;
    } catch (error) {
      if (failureOf(error) === 'no_stream') return [];
      if (failureOf(error) === 'transient') mend(client, error);
      throw error;
    }
  }

  /** The client connects anew by itself after one failure, unless it has looked for a node too often. */
  function mend(client: KurrentDBClient, error: unknown): void {
    const failed = (failures.get(client) ?? 0) + 1;
    failures.set(client, failed);
    if (failed > 1 || breaksClient(error)) connection.renew(client);
  }

  async function pageAfter(after: Position, size: number): Promise<Page> {
    const wanted = after === start ? size : size + 1;
    const events = await fetch(logRequest(after === start ? undefined : after, false, wanted));
    return { events: events.filter(({ position }) => position > after).slice(0, size), end: events.length < wanted };
  }

  async function* streamPages(
    stream: string,
    from: number | undefined,
    options: ReadOptions,
    attempt: (read: () => Promise<Page>) => Promise<Page>,
  ): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    let next = from;
    yield* pages(options.limit, (size) =>
      attempt(async () => {
        if (next !== undefined && next < 0) return { events: [], end: true };
        const events = await fetch(streamRequest(stream, next, backwards, size));
        const last = events.at(-1);
        if (last) next = last.revision + (backwards ? -1 : 1);
        return { events, end: events.length < size };
      }),
    );
  }

  async function* readAll(after?: Position, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const backwards = options.direction === 'backwards';
    let last = after;
    yield* pages(options.limit, (size) =>
      patience.persist('read the log', async () => {
        const page = backwards ? await pageBefore(last, size) : await pageAfter(last ?? start, size);
        last = page.events.at(-1)?.position ?? last;
        return page;
      }),
    );
  }

  async function pageBefore(before: Position | undefined, size: number): Promise<Page> {
    if (before === start) return { events: [], end: true };
    const events = await fetch(logRequest(before, true, size));
    const older = before === undefined ? events : events.filter(({ position }) => position < before);
    return { events: older, end: events.length < size };
  }

  /**
   * Where no record begins at the position the server fails the read, and the client does not say why. If the log can be read at
   * its end at the same time, then that is why.
   */
  async function eventOrNone(position: Position): Promise<RecordedEvent | undefined> {
    for (let failed = 0; failed < 3; failed++) {
      try {
        const [found] = await fetch(logRequest(position, false, 1));
        return found?.position === position ? found : undefined;
      } catch (error) {
        if (isInvalidPosition(error)) return undefined;
        if (failureOf(error) !== 'transient') throw error;
        await fetch(logRequest(undefined, true, 1));
      }
    }
    return undefined;
  }

  async function tryEnd(): Promise<Position> {
    const [last] = await fetch(logRequest(undefined, true, 1));
    return last?.position ?? start;
  }

  const end = () => patience.persist('read the end of the log', tryEnd);

  return {
    readStream: (stream, from, options = {}) =>
      streamPages(stream, from, options, (read) => patience.persist(`read stream ${quote(stream)}`, read)),
    tryStream: (stream, from, options = {}) => streamPages(stream, from, options, (read) => read()),
    readAll,
    pageAfter,
    async eventAt(position) {
      if (position > (await end())) return undefined;
      return patience.persist('read the log', () => eventOrNone(position));
    },
    end,
    // Beyond its end the log has nothing to read.
    once: { end: tryEnd, eventAt: eventOrNone },
  };
}

/** Lets so many at once go on, the others in turn. Each calls what it is given once it is done. */
function turnsOf(most: number) {
  const waiting: (() => void)[] = [];
  let underWay = 0;
  function done(): void {
    const next = waiting.shift();
    if (next) next();
    else underWay--;
  }
  return {
    async begin(): Promise<() => void> {
      if (underWay < most) underWay++;
      else await new Promise<void>((turn) => waiting.push(turn));
      return done;
    },
  };
}

/** Size of the page after this one, so that both have about the same number of characters at most. */
export function nextPageSize({ events }: Page): number {
  const characters = events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0);
  const average = Math.max(1, characters / Math.max(1, events.length));
  return Math.max(1, Math.min(largestPage, Math.floor(pageCharacters / average)));
}

/** Size of the first page. */
export const firstPageSize = firstPage;

async function* pages(limit: number | undefined, read: (size: number) => Promise<Page>): AsyncGenerator<RecordedEvent> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  let size = firstPage;
  while (left > 0) {
    const page = await read(Math.min(size, left));
    yield* page.events;
    left -= page.events.length;
    if (page.end) return;
    size = nextPageSize(page);
  }
}
