import type { EventLog, RecordedEvent } from './port.js';

const last = { direction: 'backwards', limit: 1 } as const;

/** The last event of a stream; undefined if it has none. Throws as the reads of the log do. */
export function lastOfStream(log: Pick<EventLog, 'readStream'>, stream: string): Promise<RecordedEvent | undefined> {
  return firstOf(log.readStream(stream, undefined, last));
}

/** The last event of the log; undefined if it has none. Throws as the reads of the log do. */
export function lastOfLog(log: Pick<EventLog, 'readAll'>): Promise<RecordedEvent | undefined> {
  return firstOf(log.readAll(undefined, last));
}

async function firstOf(events: AsyncIterable<RecordedEvent>): Promise<RecordedEvent | undefined> {
  for await (const event of events) return event;
  return undefined;
}
