import { create, fromJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  EventMetadataSchema,
  type RecordedEvent as RecordedEventMessage,
  RecordedEventSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import type { MemoirEvent } from '../domain/events.js';
import { decodeEvent, eventTypes } from '../eventstore/codec.js';
import { explaining } from '../eventstore/foreign.js';
import type { RecordedEvent } from '../eventstore/port.js';

/**
 * The event whole, for `redactRecorded` to make of it what a client may know; one of a type that this version does not know without the
 * event itself.
 */
export function eventMessage(recorded: RecordedEvent): RecordedEventMessage {
  const { type } = recorded;
  return create(RecordedEventSchema, {
    position: BigInt(recorded.position),
    stream: recorded.stream,
    revision: recorded.revision,
    eventId: recorded.id,
    eventType: type,
    recordedAt: timestampFromMs(recorded.recordedAt),
    metadata: fromJson(EventMetadataSchema, JSON.parse(recorded.metadata), { ignoreUnknownFields: true }),
    ...(eventTypes.includes(type) && { event: typed(recorded) }),
  });
}

function typed(recorded: RecordedEvent): RecordedEventMessage['event'] {
  const { type } = recorded;
  const name = type.charAt(0).toLowerCase() + type.slice(1);
  return { case: name, value: told(recorded) } as RecordedEventMessage['event'];
}

/** The event, without what explains it where that cannot be read. */
function told(recorded: RecordedEvent): MemoirEvent {
  try {
    return decodeEvent(recorded);
  } catch {
    return decodeEvent(recorded, explaining);
  }
}
