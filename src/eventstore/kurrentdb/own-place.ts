import { jobLogStream } from '../../domain/streams.js';
import { areDeleted, type Contradiction, type KeptPlace } from '../kept-places.js';
import { type Position, type RecordedEvent, start } from '../port.js';
import type { Reader } from './reader.js';

/** An event by which a log is known again. */
type Mark = Pick<RecordedEvent, 'position' | 'id' | 'stream'>;

/** What somebody knows of the log that was read or written. */
export type OwnPlace = {
  /** Takes note of an event that is in the log. */
  note(event: Mark): void;
  /**
   * How the log contradicts what was noted, in a store that may be another than the one before; undefined if it does not. Throws as the
   * reads do.
   */
  contradiction(): Promise<Contradiction | undefined>;
};

/** Knows nothing yet. `what` is whose knowledge it is, for messages. */
export function ownPlace(reader: Pick<Reader, 'eventAt' | 'end' | 'readStream'>, what: string): OwnPlace {
  let last: Mark | undefined;
  // Live logs may expire, so that the last event that cannot is known beside them.
  let lasting: Mark | undefined;
  return {
    note({ position, id, stream }) {
      if (last && position <= last.position) return;
      last = { position, id, stream };
      if (!expires(last)) lasting = last;
    },
    async contradiction() {
      for (const mark of [last, lasting]) {
        if (!mark) return undefined;
        const there = await reader.eventAt(mark.position);
        if (there?.id === mark.id) return undefined;
        const end = await reader.end();
        const known: KeptPlace = { what, position: mark.position, eventId: mark.id };
        if (there) return { kind: 'other', known, found: await lastOf(reader, end) };
        if (mark.position <= end && (await areDeleted(reader, [mark.stream]))) continue;
        if (!expires(mark) || mark.position > end) {
          return { kind: mark.position > end ? 'shorter' : 'other', known, found: await lastOf(reader, end) };
        }
      }
      return undefined;
    },
  };
}

const expires = ({ stream }: Mark) => stream.startsWith(jobLogStream(''));

async function lastOf(reader: Pick<Reader, 'eventAt'>, end: Position): Promise<Contradiction['found']> {
  const event = end === start ? undefined : await reader.eventAt(end);
  return event && { position: event.position, eventId: event.id };
}
