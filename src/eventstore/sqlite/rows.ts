import { quote } from '../../domain/errors.js';
import { type RecordedEvent, StoreUnreadable } from '../port.js';
import { checksum } from './checksum.js';

/** The columns of `event`, in the order in which `eventFromRow` takes them. */
export const columns = 'position, stream, revision, id, type, data, metadata, recorded_at, checksum';

/** A row of `event` as an array of `columns`. */
export type EventRow = [number, string, number, string, string, string, string, number, number];

/**
 * The event that a row of the log at `path` holds.
 * @throws StoreUnreadable naming the event if the row is not what was written
 */
export function eventFromRow(path: string, row: EventRow | readonly [...EventRow, ...unknown[]]): RecordedEvent {
  const [position, stream, revision, id, type, data, metadata, recordedAt, written] = row;
  const event: RecordedEvent = { id, type, data, metadata, stream, revision, position, recordedAt };
  if (checksum(event) !== written) {
    throw new StoreUnreadable(
      `the event log ${quote(path)} is damaged: event ${revision} of stream ${quote(stream)}, at position ${position}, is not ` +
        'what was recorded',
    );
  }
  return event;
}
