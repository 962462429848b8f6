import { create } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import {
  type RecordedEvent as RecordedEventMessage,
  type SubscribeEventsRequest,
  type SubscribeEventsResponse,
  SubscribeEventsResponseSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { unrestricted } from '../domain/access.js';
import type { RecordedEvent } from '../eventstore/port.js';
import { cloudEventAttributes, cloudEventSource, cloudEventVersion } from '../history/cloud-event.js';
import { eventFilter } from '../history/event-filter.js';
import { openEventHub } from '../history/event-hub.js';
import type { Presented } from '../history/log-entry.js';
import { type Beginning, type Place, placeOf, resumeTokenOf } from '../history/place.js';
import { type Heartbeat, subscribe } from '../history/subscribe.js';
import { checkDuration } from '../jobs/check-duration.js';
import { checkTime } from '../jobs/check-time.js';
import type { JobsContext } from '../jobs/context.js';
import type { JobFacts } from '../jobs/reading/permit.js';
import { holdsSecrets } from '../jobs/reading/redact.js';
import type { CallContext } from './call.js';
import { Encoded } from './encoded.js';
import { eventMessage } from './event-message.js';
import { forKindsOfReader } from './kinds-of-reader.js';
import { redactRecorded } from './redacting.js';

/** Longest time without a message, in milliseconds: unless asked for, and what may be asked for. */
const usualHeartbeat = 15_000;
const heartbeatBounds = { least: 1_000, most: 3_600_000 };

/** HistoryService.SubscribeEvents. */
export function subscribeEvents(context: JobsContext) {
  const hub = openEventHub(context, (recorded, place) => presented(context.readModel, recorded, place));
  return async function* (request: SubscribeEventsRequest, { access, signal }: CallContext) {
    const filter = eventFilter(request);
    const longestSilence = heartbeatOf(request.heartbeatInterval);
    const from = await placeOf(context, beginningOf(request.start));
    const subscription = { from, filter, access, heartbeatMs: longestSilence, signal };
    for await (const given of subscribe(hub, subscription, context.edge)) {
      yield 'event' in given ? given.event : heartbeatResponse(context, given.heartbeat);
    }
  };
}

type Sent = Encoded<typeof SubscribeEventsResponseSchema>;

/** What subscribers are sent of an event: made once for all, but where it holds what some of them may not know once for each kind of them. */
function presented(
  facts: JobFacts & Pick<ReadModel, 'generation'>,
  recorded: RecordedEvent,
  place: Place,
): Presented<Sent> {
  const encoded = (event: RecordedEventMessage) =>
    new Encoded(SubscribeEventsResponseSchema, eventResponse(facts, recorded, event, place));
  const event = eventMessage(recorded);
  const forAll = encoded(redactRecorded({ access: unrestricted(''), facts }, event));
  if (!event.event.value || !holdsSecrets(event.event.value)) return () => forAll;
  // Decoded again: what is remembered of an event is its text, and what is sent of it.
  const forSome = forKindsOfReader(facts, principalsIn(event), (reader) =>
    encoded(redactRecorded(reader, eventMessage(recorded))),
  );
  return (access) => (access.readsAll && access.administersAll ? forAll : forSome(access));
}

/** Who may be told of an event what others may not, since it is about them. */
export function principalsIn({ event: { value }, metadata }: RecordedEventMessage): readonly string[] {
  const turnOf = value?.$typeName === 'memoir.events.v1.JobLeft' ? value.turnOf : '';
  return [metadata?.principal ?? '', turnOf].filter((name) => name !== '');
}

function eventResponse(
  readModel: Pick<ReadModel, 'generation'>,
  recorded: RecordedEvent,
  event: RecordedEventMessage,
  place: Place,
): SubscribeEventsResponse {
  const { recordedAt: time, metadata } = event;
  return create(SubscribeEventsResponseSchema, {
    resumeToken: resumeTokenOf(readModel, place),
    position: event.position,
    content: { case: 'event', value: event },
    cloudEvent: {
      ...cloudEventAttributes(recorded),
      source: cloudEventSource,
      specVersion: cloudEventVersion,
      ...(time && { time }),
      dataContentType: 'application/json',
      traceparent: metadata?.traceparent ?? '',
    },
  });
}

function heartbeatResponse(
  { readModel }: Pick<JobsContext, 'readModel'>,
  { place, live }: Heartbeat,
): SubscribeEventsResponse {
  return create(SubscribeEventsResponseSchema, {
    resumeToken: resumeTokenOf(readModel, place),
    position: BigInt(place.position),
    content: { case: 'heartbeat', value: { live } },
  });
}

function beginningOf(start: SubscribeEventsRequest['start']): Beginning {
  switch (start.case) {
    case 'beginning':
      return { at: 'beginning' };
    case 'position':
      return { at: 'position', position: start.value };
    case 'time':
      return { at: 'time', time: checkTime('time', start.value) };
    case 'resumeToken':
      return { at: 'token', token: start.value };
    default:
      return { at: 'now' };
  }
}

function heartbeatOf(interval: Duration | undefined): number {
  return interval ? checkDuration('heartbeat_interval', interval, heartbeatBounds) : usualHeartbeat;
}
