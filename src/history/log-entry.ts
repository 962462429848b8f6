import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Access } from '../domain/access.js';
import { whyForeign } from '../eventstore/foreign.js';
import type { Position, RecordedEvent } from '../eventstore/port.js';
import { type EventFacts, factsOf } from './event-facts.js';
import { type Place, placeBehind } from './place.js';

/** An event as all subscribers share it. What few of them need is made when the first one needs it, once. */
export type LogEntry<Message> = {
  readonly place: Place;
  readonly type: string;
  /** About how many bytes of memory it takes. */
  readonly size: number;
  /** Whether it is to be passed over: no Memoir wrote it, or it is malformed. */
  foreign(): boolean;
  /** What it is about, if it is not to be passed over. */
  facts(): EventFacts;
  /** What a subscriber is sent who may read the event. */
  message(access: Access): Message;
};

/** Beside its data, what an entry takes: the rest of the event, the objects around it, and what a message adds to the data. */
const overhead = 2_000;

/** What subscribers are sent of an event, by what each of them may read. */
export type Presented<Message> = (access: Access) => Message;

/** The entry of an event that the read model has come to. `present` makes what subscribers are sent. */
export function logEntry<Message>(
  readModel: Pick<ReadModel, 'jobs' | 'exclusions'>,
  present: (recorded: RecordedEvent, place: Place) => Presented<Message>,
  recorded: RecordedEvent,
): LogEntry<Message> {
  const place = placeBehind(recorded);
  let foreign: boolean | undefined;
  let facts: EventFacts | undefined;
  let presented: Presented<Message> | undefined;
  return {
    place,
    type: recorded.type,
    // A text may take two bytes a character, and the message that is made of it about as many as it has characters.
    size: overhead + 3 * recorded.data.length,
    foreign() {
      foreign ??= whyForeign(recorded) !== undefined;
      return foreign;
    },
    facts() {
      facts ??= factsOf(readModel, recorded);
      return facts;
    },
    message(access) {
      presented ??= present(recorded, place);
      return presented(access);
    },
  };
}

/** Index of the first entry after a position in entries that ascend by it; their number if there is none. A binary search. */
export function firstAfter(entries: readonly LogEntry<unknown>[], position: Position): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle] as LogEntry<unknown>).place.position > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
