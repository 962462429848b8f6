import { quote } from '../domain/errors.js';
import { isUuid } from '../domain/streams.js';
import type { ExpectedRevision, NewEvent } from './port.js';

/**
 * Checks what an adapter is asked to append before it goes into a batch with others' appends, which would fail with it.
 * @throws TypeError naming what no store can record as it was given. It is the mistake of the calling code, not of a client
 */
export function checkAppend(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): void {
  if (stream === '' || !stream.isWellFormed() || stream.includes('\0')) {
    throw new TypeError(`${quote(stream)} is no name of a stream`);
  }
  if (expected !== 'any' && expected !== 'no_stream' && !(Number.isSafeInteger(expected) && expected >= 0)) {
    throw new TypeError(`${quote(String(expected))} is no expected revision of stream ${quote(stream)}`);
  }
  if (events.length === 0) throw new TypeError(`an append to stream ${quote(stream)} without events`);
  for (const { id, type, data, metadata } of events) {
    if (!isUuid(id)) throw new TypeError(`${quote(String(id))} is no id of an event; it must be a UUID in lower case`);
    for (const text of [type, data, metadata]) {
      if (typeof text !== 'string' || text === '' || !text.isWellFormed()) {
        throw new TypeError(`${quote(String(text))} cannot be recorded in event ${id} of stream ${quote(stream)}`);
      }
    }
  }
}
