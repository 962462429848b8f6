import { create, fromJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  EventMetadataSchema,
  type RecordedEvent as RecordedEventMessage,
  RecordedEventSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import type { MemoirEvent } from '../domain/events.js';
import { eventTypes } from '../eventstore/codec.js';
import { wholeEvent } from '../eventstore/foreign.js';
import type { RecordedEvent } from '../eventstore/port.js';

/**
 * The event whole, for `redactRecorded` to make of it what a client may know; one of a type that this version does not know without the
 * event itself. `event` is what it says, decoded here unless given.
 */
export function eventMessage(
  recorded: RecordedEvent,
  event = eventTypes.includes(recorded.type) ? wholeEvent(recorded) : undefined,
): RecordedEventMessage {
  const { type } = recorded;
  return create(RecordedEventSchema, {
    position: BigInt(recorded.position),
    stream: recorded.stream,
    revision: recorded.revision,
    eventId: recorded.id,
    eventType: type,
    recordedAt: timestampFromMs(recorded.recordedAt),
    metadata: fromJson(EventMetadataSchema, JSON.parse(recorded.metadata), { ignoreUnknownFields: true }),
    ...(event && { event: typed(type, event) }),
  });
}

function typed(type: string, value: MemoirEvent): RecordedEventMessage['event'] {
  const name = type.charAt(0).toLowerCase() + type.slice(1);
  return { case: name, value } as RecordedEventMessage['event'];
}
