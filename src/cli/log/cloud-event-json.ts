import { type DescField, type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import {
  RecordedEventSchema,
  type SubscribeEventsResponse,
} from '../../../gen/memoir/history/v1/history_service_pb.js';

/**
 * The event of a message in the JSON format of CloudEvents 1.0, as one line; undefined for a heartbeat. The data is the ProtoJSON
 * of the event, as the log has it.
 */
export function cloudEventJson({ content, cloudEvent }: SubscribeEventsResponse): string | undefined {
  if (content.case !== 'event' || !cloudEvent) return undefined;
  const { event } = content.value;
  const schema = event.case && RecordedEventSchema.fields.find(({ localName }) => localName === event.case);
  return JSON.stringify({
    specversion: cloudEvent.specVersion,
    id: cloudEvent.id,
    source: cloudEvent.source,
    type: cloudEvent.type,
    subject: cloudEvent.subject,
    ...(cloudEvent.time && { time: toJson(TimestampSchema, cloudEvent.time) }),
    datacontenttype: cloudEvent.dataContentType,
    dataschema: cloudEvent.dataSchema,
    ...(cloudEvent.traceparent && { traceparent: cloudEvent.traceparent }),
    sequence: cloudEvent.sequence,
    ...(schema && { data: toJson(messageOf(schema), event.value as MessageShape<DescMessage>) }),
  });
}

function messageOf(field: DescField): DescMessage {
  if (field.fieldKind !== 'message') throw new Error(`field ${field.name} is no message`);
  return field.message;
}
