import { create, fromJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type HistoryService,
  MetadataSchema,
  ReadHistoryResponseSchema,
  type RecordedEvent as RecordedEventMessage,
  RecordedEventSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import { jobStream, reuseStream } from '../domain/streams.js';
import { decodeEvent } from '../eventstore/codec.js';
import type { RecordedEvent } from '../eventstore/port.js';
import type { JobsContext } from '../jobs/context.js';
import { checkUuid } from '../jobs/limits.js';
import { jobNotFound, mayRead } from '../jobs/permit.js';
import type { Implementation } from './service.js';

/** memoir.history.v1.HistoryService. */
export function historyService({ store: log, streams }: JobsContext): Implementation<typeof HistoryService> {
  return {
    async *readHistory(request, { caller, signal }) {
      const uuid = checkUuid('uuid', request.uuid);
      // A deleted job has a history all the same.
      const record = await streams.load(uuid);
      if (!record || !mayRead(caller.access, record.job)) throw jobNotFound(uuid);
      for await (const recorded of inOrder(log.readStream(jobStream(uuid)), log.readStream(reuseStream(uuid)))) {
        if (signal.aborted) return;
        yield create(ReadHistoryResponseSchema, { event: eventMessage(recorded) });
      }
    },
  };
}

/** Two sequences that ascend by position, as one. */
async function* inOrder(
  one: AsyncIterable<RecordedEvent>,
  other: AsyncIterable<RecordedEvent>,
): AsyncGenerator<RecordedEvent> {
  const [a, b] = [one[Symbol.asyncIterator](), other[Symbol.asyncIterator]()];
  let [x, y] = [await a.next(), await b.next()];
  while (!x.done || !y.done) {
    if (y.done || (!x.done && x.value.position < y.value.position)) {
      yield x.value;
      x = await a.next();
    } else {
      yield y.value;
      y = await b.next();
    }
  }
}

/** The event as clients see it. */
export function eventMessage(recorded: RecordedEvent): RecordedEventMessage {
  const { type } = recorded;
  const event = {
    case: type.charAt(0).toLowerCase() + type.slice(1),
    value: decodeEvent(recorded),
  } as RecordedEventMessage['event'];
  return create(RecordedEventSchema, {
    position: BigInt(recorded.position),
    stream: recorded.stream,
    revision: recorded.revision,
    eventId: recorded.id,
    eventType: type,
    recordedAt: timestampFromMs(recorded.recordedAt),
    metadata: fromJson(MetadataSchema, JSON.parse(recorded.metadata), { ignoreUnknownFields: true }),
    event,
  });
}
