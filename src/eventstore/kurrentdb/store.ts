import { setMaxListeners } from 'node:events';
import { quote } from '../../domain/errors.js';
import { streamPrefixes } from '../../domain/streams.js';
import { checkAppend } from '../check-append.js';
import { contradicted } from '../kept-places.js';
import { type EventLog, type EventStore, type NewEvent, StoreUnavailable, StoreUnreachable, start } from '../port.js';
import { appenderOf } from './appender.js';
import { connect } from './connection.js';
import type { KurrentOptions } from './options.js';
import { ownPlace } from './own-place.js';
import { patienceWith } from './patience.js';
import { reachabilityOf } from './reachability.js';
import { readerOf } from './reader.js';
import { subscriberOf } from './subscription.js';
import type { KurrentUrl } from './url.js';

/**
 * Opens the event store in KurrentDB. Any number of processes may have it open.
 * @throws StoreUnreachable naming the nodes, within a second and saying why, if none can be reached; StoreUnavailable if they refuse the
 * credentials, or the user may not write, or only another setting can help
 */
export async function openKurrentStore(url: KurrentUrl, options: KurrentOptions): Promise<EventStore> {
  const { log, reader, patience, closed } = openParts(url, options, true);
  const connection = connect(url);
  const appender = appenderOf(connection, url.address, patience, reader, options.edge);
  const place = ownPlace(reader, 'this server');
  let suspected = false;

  /** Nothing is written to a log that is another than the one that was known. @throws StoreUnreachable */
  async function checkLog(): Promise<void> {
    const found = await place.contradiction();
    if (found) throw new StoreUnreachable(contradicted(url.address, found).message);
    suspected = false;
  }

  try {
    await patience.greet();
    const end = await log.end();
    const last = end === start ? undefined : await log.eventAt(end);
    if (last) place.note(last);
  } catch (error) {
    await log.close();
    throw error;
  }
  return {
    ...log,
    exclusive: false,
    checkSize: appender.checkSize,
    suspect() {
      suspected = true;
    },
    async append(stream, expected, events) {
      checkAppend(stream, expected, events);
      if (!streamPrefixes.some((prefix) => stream.startsWith(prefix))) {
        throw new TypeError(
          `stream ${quote(stream)} is of a kind that no read of the log would give; see streamPrefixes`,
        );
      }
      if (suspected) await checkLog();
      const appended = await appender.append(stream, expected, events).catch((error: unknown) => {
        if (error instanceof StoreUnreachable) suspected = true;
        throw error;
      });
      const { id } = events.at(-1) as NewEvent;
      place.note({ stream, id, position: appended.position });
      return appended;
    },
    async close() {
      if (closed.aborted) return;
      await appender.close();
      await connection.close();
      await log.close();
    },
  };
}

/** Opens the log in KurrentDB for reading only. Nothing is connected before the first read. */
export function openKurrentLog(url: KurrentUrl, options: KurrentOptions): EventLog {
  return openParts(url, options, false).log;
}

/** The parts that a store is made of, or with `writing` false a log that is only read. */
export function openParts(url: KurrentUrl, options: KurrentOptions, writing: boolean) {
  const closing = new AbortController();
  const closed = closing.signal;
  // As many may listen as calls are under way.
  setMaxListeners(0, closed);
  const connection = connect({ ...url, connectionString: url.withoutUser });
  const patience = patienceWith(url.address, options, reachabilityOf(url, options, writing), closed);
  const reader = readerOf(connection, url, patience);
  const subscribeAll = subscriberOf(url, patience, reader, closed);

  async function ifOpen<T>(read: () => Promise<T>): Promise<T> {
    if (closed.aborted) throw new StoreUnavailable(`the event store at ${quote(url.address)} is closed`);
    return read();
  }

  const log: EventLog = {
    readStream: reader.readStream,
    readAll: reader.readAll,
    eventAt: (position) => ifOpen(() => reader.eventAt(position)),
    end: () => ifOpen(reader.end),
    subscribeAll,
    async close() {
      if (closed.aborted) return;
      closing.abort();
      await connection.close();
    },
  };
  return { log, reader, patience, closed };
}
