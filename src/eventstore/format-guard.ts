import { MemoirError, quote } from '../domain/errors.js';
import { newestFormat } from '../domain/log-format.js';
import { signingStream } from '../domain/streams.js';
import {
  type EventLog,
  type EventStore,
  LogRefused,
  type NewEvent,
  NewerLog,
  type RecordedEvent,
  type SubscribeOptions,
} from './port.js';

/** Which formats of the log are read and written. */
export type Formats = {
  /** Highest format that is understood; what this version knows unless given. */
  readonly known?: number;
  /** Highest format that events may be appended in. Without it, `known` in a store of one process, and 1 in one that others share. */
  readonly allowed?: number | undefined;
  /** Whether signatures are verified; who does not must not follow a log that is signed. */
  readonly verified?: boolean;
};

/** A store that stops being used when its log turns out to be one that this process must not go on with. */
export type GuardedStore = EventStore & {
  /** Highest format that events may be appended in. */
  readonly allowedFormat: number;
  /** Why the log is refused, once it is. */
  refused(): LogRefused | undefined;
  /** Refuses every append from now on; the first reason stands. */
  refuse(error: LogRefused): void;
  /** Calls `listener` when the log is refused; at once if it is already. */
  onRefused(listener: (error: LogRefused) => void): void;
};

/** The log without the events of a newer format: whoever reads one gets a NewerLog in its place, and nothing behind it. */
export function guardLog(log: EventLog, { known = newestFormat, verified = false }: Formats = {}): EventLog {
  function checked<E extends RecordedEvent | undefined>(event: E): E {
    if (event) checkFormat(event, known);
    return event;
  }
  async function* all(events: AsyncIterable<RecordedEvent>): AsyncGenerator<RecordedEvent> {
    for await (const event of events) yield checked(event);
  }
  return {
    ...log,
    readStream: (...given) => all(log.readStream(...given)),
    readAll: (...given) => all(log.readAll(...given)),
    eventAt: async (position) => checked(await log.eventAt(position)),
    async *subscribeAll(after?: number, options?: SubscribeOptions) {
      for await (const batch of log.subscribeAll(after, options)) {
        for (const event of batch.events) {
          checkFormat(event, known);
          if (!verified) checkUnsigned(event);
        }
        yield batch;
      }
    },
  };
}

/**
 * The store as `guardLog` gives its log. Once an event of a newer format was met, or `refuse` was called, every append is refused.
 * So are appends of events that need a format which is not allowed.
 */
export function guardStore(store: EventStore, formats: Formats = {}): GuardedStore {
  const { known = newestFormat, allowed = store.exclusive ? known : 1, verified = false } = formats;
  const listeners: ((error: LogRefused) => void)[] = [];
  let refusal: LogRefused | undefined;

  function refuse(error: LogRefused): void {
    if (refusal) return;
    refusal = error;
    for (const listener of listeners) listener(error);
  }

  function noticing<T>(error: T): T {
    if (error instanceof LogRefused) refuse(error);
    return error;
  }
  async function* all<T>(given: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* given;
    } catch (error) {
      throw noticing(error);
    }
  }
  const log = guardLog(store, { known, verified });
  return {
    ...store,
    readStream: (...given) => all(log.readStream(...given)),
    readAll: (...given) => all(log.readAll(...given)),
    subscribeAll: (...given) => all(log.subscribeAll(...given)),
    eventAt: (position) =>
      log.eventAt(position).catch((error: unknown) => {
        throw noticing(error);
      }),
    async append(stream, expected, events) {
      if (refusal) throw refusal;
      for (const event of events) checkAllowed(stream, event, allowed);
      try {
        return await store.append(stream, expected, events);
      } catch (error) {
        throw noticing(error);
      }
    },
    allowedFormat: allowed,
    refused: () => refusal,
    refuse,
    onRefused(listener) {
      listeners.push(listener);
      if (refusal) listener(refusal);
    },
  };
}

/** The format that an event needs, as its metadata says; 1 where that says nothing that could be read. */
export function formatOf({ metadata }: Pick<NewEvent, 'metadata'>): number {
  // Nearly all say nothing, and to parse each would cost more than the rest of the reading.
  if (!metadata.includes('"logFormat"')) return 1;
  try {
    const format = Number((JSON.parse(metadata) as { readonly logFormat?: unknown } | null)?.logFormat);
    return Number.isSafeInteger(format) && format > 1 ? format : 1;
  } catch {
    return 1;
  }
}

/** @throws NewerLog if the event is of a format above `known` */
function checkFormat(event: RecordedEvent, known: number): void {
  const format = formatOf(event);
  if (format <= known) return;
  const { revision, stream, position, type } = event;
  throw new NewerLog(
    `event ${revision} of stream ${quote(stream)}, a ${quote(type)} at position ${position}, is of log format ${format}, and this ` +
      `version of Memoir knows formats up to ${known}: start a version that knows it`,
  );
}

/**
 * What a server records without a signature is passed over by all others from the first of these events on, and it would believe what they
 * do not.
 * @throws LogRefused SIGNED_LOG if the event says that the log is signed
 */
export function checkUnsigned({ stream, type, position }: RecordedEvent): void {
  if (stream !== signingStream || type !== 'SigningKeysChanged') return;
  throw new LogRefused(
    'SIGNED_LOG',
    `what is recorded in the log is signed from position ${position} on, and this server signs nothing: set sign = true, with a key ` +
      'that the log names or may take up (docs/audit.md)',
  );
}

function checkAllowed(stream: string, event: NewEvent, allowed: number): void {
  const format = formatOf(event);
  if (format <= allowed) return;
  throw new MemoirError(
    'FAILED_PRECONDITION',
    'LOG_FORMAT_NOT_ALLOWED',
    `a ${quote(event.type)} in stream ${quote(stream)} needs log format ${format}, and events up to format ${allowed} may be recorded; ` +
      'once every server of the store knows it, allow it by the setting log_format',
  );
}
