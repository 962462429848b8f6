import type { RecordedEvent } from '../eventstore/port.js';

/** The attributes of CloudEvents 1.0 that are the same for all events. */
export const cloudEventSource = '/memoir';
export const cloudEventVersion = '1.0';

/** Attributes of an event by CloudEvents 1.0 that differ between events. */
export type CloudEventAttributes = {
  readonly id: string;
  /** Full name of the event's message, which is unique as CloudEvents wants it, and does not claim a DNS name of somebody else. */
  readonly type: string;
  readonly subject: string;
  /** How protobuf's Any names the type, as an absolute URI. */
  readonly dataSchema: string;
  /** Position in as many digits as the largest one has, since texts of the extension "sequence" are compared as texts. */
  readonly sequence: string;
};

/** The attributes of an event. They depend on nothing but the event. */
export function cloudEventAttributes({
  id,
  type,
  stream,
  position,
}: Pick<RecordedEvent, 'id' | 'type' | 'stream' | 'position'>): CloudEventAttributes {
  const name = `memoir.events.v1.${type}`;
  return {
    id,
    type: name,
    subject: stream,
    dataSchema: `https://type.googleapis.com/${name}`,
    sequence: String(position).padStart(16, '0'),
  };
}
