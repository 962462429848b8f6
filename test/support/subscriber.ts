import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  RecordedEvent,
  SubscribeEventsRequest,
  SubscribeEventsRequestSchema,
  SubscribeEventsResponse,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import type { Clients } from './server.js';

type Fields = Exclude<MessageInitShape<typeof SubscribeEventsRequestSchema>, SubscribeEventsRequest>;

/** What to subscribe to. */
export type SubscribeRequest = Pick<Fields, 'start' | 'heartbeatInterval'> & {
  readonly [Filter in 'eventTypes' | 'repositories' | 'scripts' | 'owners' | 'jobUuids']?: string[];
};

/** A client that reads a subscription as fast as it comes. */
export type Subscriber = {
  /** Everything that came. */
  readonly messages: readonly SubscribeEventsResponse[];
  /** The events among it. */
  events(): readonly RecordedEvent[];
  /** Positions of these. */
  positions(): readonly number[];
  /** Resolves when the condition holds after a message. Rejects with what the stream ended by, if it does first. */
  until(condition: () => boolean): Promise<void>;
  /** Resolves when the past has been given. */
  live(): Promise<void>;
  /** Resolves with what the stream failed with, or with nothing when it was ended. */
  readonly ended: Promise<Error | undefined>;
  /** Ends the subscription. */
  end(): Promise<void>;
};

/** Subscribes. */
export function subscriber(clients: Pick<Clients, 'history'>, request: SubscribeRequest = {}): Subscriber {
  const stop = new AbortController();
  const messages: SubscribeEventsResponse[] = [];
  const events: RecordedEvent[] = [];
  const positions: number[] = [];
  let heardLive = false;
  let waiting: (() => void)[] = [];
  let over = false;
  const tell = () => {
    const told = waiting;
    waiting = [];
    for (const wake of told) wake();
  };

  async function read(): Promise<Error | undefined> {
    try {
      for await (const message of clients.history.subscribeEvents(request, { signal: stop.signal })) {
        messages.push(message);
        const { content } = message;
        if (content.case === 'heartbeat') heardLive ||= content.value.live;
        if (content.case === 'event') {
          events.push(content.value);
          positions.push(Number(content.value.position));
        }
        tell();
      }
      return new Error('the server ended the stream without an error');
    } catch (error) {
      return stop.signal.aborted ? undefined : (error as Error);
    } finally {
      over = true;
      tell();
    }
  }
  const ended = read();

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (over) throw (await ended) ?? new Error('the subscription was ended');
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  }
  return {
    messages,
    events: () => events,
    positions: () => positions,
    until,
    live: () => until(() => heardLive),
    ended,
    async end() {
      stop.abort();
      await ended;
    },
  };
}

/** All events that a subscription from the beginning gives until it has given the past. */
export async function past(
  clients: Pick<Clients, 'history'>,
  request: SubscribeRequest = {},
): Promise<readonly RecordedEvent[]> {
  const reader = subscriber(clients, { start: { case: 'beginning', value: {} }, ...request });
  await reader.live();
  await reader.end();
  return reader.events();
}
