import { MemoirError, quote } from '../../domain/errors.js';
import type { LogImporter } from '../importer.js';
import { isPlainJson } from '../json-text.js';
import type { NewEvent, RecordedEvent } from '../port.js';
import { logOrder } from '../transfer/log-order.js';
import { appendOnce } from './append-once.js';
import { connect, withOneStream } from './connection.js';
import { failureOf, isFinal, messageOf, unavailable } from './failure.js';
import type { KurrentOptions } from './options.js';
import { withOrigin } from './origin.js';
import { inTime } from './patience.js';
import { openParts } from './store.js';
import type { KurrentUrl } from './url.js';
import { dataFrom } from './wire/append-request.js';

/** Most events in one append of several, and characters of them: below the smallest limit of servers, 1 MiB, in any script. */
const maxEvents = 500;
const maxCharacters = 256 * 1024;

/** Appends under way at once. */
const maxUnderWay = 15;

/** Events that follow each other in the log and are of one stream. */
type Append = { readonly stream: string; readonly events: readonly RecordedEvent[] };

/**
 * Opens KurrentDB to take a log. The server gives positions and times of its own; those that the events had are kept in their
 * metadata, and an event is read as it was recorded before (see `recordedFrom`).
 *
 * The order of the log is kept while several appends are under way, because the server takes those of one stream of requests in
 * turn: when one fails nothing more is sent, and what was recorded is read before the rest is sent again by another client.
 * @throws StoreUnavailable naming the nodes if they cannot be reached in time, or refuse the credentials
 */
export async function openKurrentImporter(url: KurrentUrl, options: KurrentOptions): Promise<LogImporter> {
  const { log, reader, patience } = openParts(url, options, true);
  const connection = connect(url, withOneStream);
  const order = logOrder(true);
  const begin = async () => {
    await patience.greet();
    return log.end();
  };
  let position = await begin().catch(async (error) => {
    await log.close();
    throw error;
  });

  function disturbed(what: string): MemoirError {
    const why = 'something else writes there, or it has recorded appends in another order than they were sent';
    const message = `KurrentDB at ${url.address} ${what}: ${why}; remove its data and import again`;
    return new MemoirError('ABORTED', 'IMPORT_DISTURBED', message);
  }

  /** How many of the events are in the log, which must begin with them after `position`. */
  async function recordedOf(events: readonly RecordedEvent[]): Promise<number> {
    let count = 0;
    for await (const { id, stream } of reader.readAll(position)) {
      const expected = events[count++];
      if (id === expected?.id && stream === expected.stream) continue;
      const there = expected ? `event ${expected.id} of stream ${quote(expected.stream)}` : 'none';
      throw disturbed(`has event ${id} of stream ${quote(stream)} where the file has ${there}`);
    }
    return count;
  }

  /** Sends appends by one client until one fails, and gives the failure when all that were sent are settled. */
  async function sendInTurn(appends: readonly Append[]): Promise<unknown> {
    const client = connection.client();
    const underWay = new Set<Promise<void>>();
    let failure: unknown;
    for (const [i, { stream, events }] of appends.entries()) {
      if (failure !== undefined) break;
      const revision = events[0]?.revision ?? 0;
      const expected = revision === 0 ? 'no_stream' : revision - 1;
      const request = appendOnce(client, options.edge.uuid(), stream, expected, dataFrom(events.map(newOf)));
      const sent: Promise<void> = inTime(request, patience.timings.answerTimeout)
        .then(
          () => undefined,
          (error: unknown) => {
            failure ??= error;
          },
        )
        .finally(() => underWay.delete(sent));
      underWay.add(sent);
      // The first one opens the stream of requests, and while it does others would overtake it.
      if (i === 0 || underWay.size >= maxUnderWay) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    if (failure !== undefined) connection.renew(client);
    return failure;
  }

  return {
    log,
    keepsPositions: false,
    check(event) {
      if (!isPlainJson(event.data)) throw new Error('its data are not JSON as JSON.stringify writes it');
      withOrigin(event.metadata, event);
      order.check(event);
    },
    async record(events) {
      let done = 0;
      let until: number | undefined;
      for (let failed = 0; ; failed++) {
        const failure = await sendInTurn(appendsOf(events.slice(done)));
        if (failure === undefined) break;
        if (isFinal(failure) || failureOf(failure) === 'refused') throw unavailable(url.address, 'append', failure);
        patience.trouble('append', failure);
        await patience.pause(failed);
        const now = await recordedOf(events);
        if (now > done) until = undefined;
        // A stream that is not where it was left may be where an append has come late that was given up.
        else if (failureOf(failure) === 'wrong_revision') throw disturbed(`cannot append: ${messageOf(failure)}`);
        done = now;
        until ??= options.edge.monotonic() + patience.timings.patience;
        if (options.edge.monotonic() >= until) throw unavailable(url.address, 'append', failure);
      }
      position = await log.end();
    },
    finish: async () => undefined,
    async close() {
      order.close();
      await connection.close();
      await log.close();
    },
  };
}

function newOf(event: RecordedEvent): NewEvent {
  const { id, type, data, metadata } = event;
  return { id, type, data, metadata: withOrigin(metadata, event) };
}

function appendsOf(events: readonly RecordedEvent[]): Append[] {
  const appends: { stream: string; events: RecordedEvent[] }[] = [];
  let characters = 0;
  for (const event of events) {
    const open = appends.at(-1);
    const size = event.data.length + event.metadata.length;
    if (open?.stream === event.stream && open.events.length < maxEvents && characters + size <= maxCharacters) {
      open.events.push(event);
      characters += size;
    } else {
      appends.push({ stream: event.stream, events: [event] });
      characters = size;
    }
  }
  return appends;
}
