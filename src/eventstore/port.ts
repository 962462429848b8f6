/**
 * Place of an event in the whole log. Grows from event to event, with gaps on some stores; `start` is before the first event.
 * A safe integer: SQLite's row number, or KurrentDB's commit position.
 */
export type Position = number;

/** The position before every event. */
export const start: Position = 0;

/** On whose behalf and in which call an event was recorded. */
export type EventMetadata = {
  /** Who called. */
  readonly principal: string;
  /** Identifier of the call. */
  readonly requestId: string;
  /** W3C traceparent of the call, if the client sent one. */
  readonly traceparent?: string;
  /** Version of the server that recorded the event. */
  readonly serverVersion: string;
  /** Format of the log that whoever reads the event must know; 1 unless given. See `formatNeeded`. */
  readonly logFormat?: number;
  /** What proved who called: its kind, and what it is told by; absent where the caller named itself. */
  readonly credential?: { readonly kind: string; readonly id: string };
  /** The service that called on behalf of the principal. */
  readonly actor?: string | undefined;
};

/** An event to append. */
export type NewEvent = {
  /** Identity: a UUID in lower case. */
  readonly id: string;
  /** Bare message name, such as `JobRequested`. */
  readonly type: string;
  /** ProtoJSON of the message, as text. */
  readonly data: string;
  /** ProtoJSON of the metadata, as text; see `metadataJson`. */
  readonly metadata: string;
};

/** An event as the log holds it. */
export type RecordedEvent = NewEvent & {
  readonly stream: string;
  /** Number in the stream, from 0. */
  readonly revision: number;
  readonly position: Position;
  /** When the store recorded it, in milliseconds since 1970-01-01T00:00Z. */
  readonly recordedAt: number;
  /** Why no server recorded it, by its signature, where the log is signed; see src/eventstore/signing. */
  readonly untrusted?: string;
};

/** What must be true of a stream for an append to happen: its last revision, that it has no event, or nothing. */
export type ExpectedRevision = number | 'no_stream' | 'any';

/** Where an append ended. */
export type Appended = {
  /** Revision of the last event appended. */
  readonly revision: number;
  /** Position of the last event appended. */
  readonly position: Position;
};

/** Which part of a sequence to read. */
export type ReadOptions = {
  /** `forwards` unless given. */
  readonly direction?: 'forwards' | 'backwards';
  /** Most events to give; all unless given. */
  readonly limit?: number;
};

/** Events that a subscription gives at once. */
export type Batch = {
  /** In the order of the log; empty when there is nothing new but `live` became true. */
  readonly events: readonly RecordedEvent[];
  /** Everything up to here has been given. */
  readonly position: Position;
  /** True if nothing more was in the log when the batch was read. */
  readonly live: boolean;
};

/** Which part of the log to follow. */
export type SubscribeOptions = {
  /** Ends the subscription. */
  readonly signal?: AbortSignal;
  /** Most events in one batch; 1,000 unless given. */
  readonly batchSize?: number;
  /** Told whenever the connection to a store behind a network broke: it may be another store that answers next. */
  readonly onBroken?: () => void;
  /** Told why the log seems not to be what it was. It is looked at again, and then given on, or the subscription ends with LogRefused. */
  readonly onDoubt?: (why: string) => void;
};

/** The log as those see it who only read. */
export type EventLog = {
  /** The events of a stream, from revision `from` on (or down). A stream without events gives none. */
  readStream(stream: string, from?: number, options?: ReadOptions): AsyncIterable<RecordedEvent>;
  /**
   * All events after position `after` (backwards: before it) in the order of the log. `after` is `start` or a position that this
   * log gave: some stores know no others.
   */
  readAll(after?: Position, options?: ReadOptions): AsyncIterable<RecordedEvent>;
  /** All events after `after`, then those to come, without gap or repeat, until the signal or `close`. */
  subscribeAll(after?: Position, options?: SubscribeOptions): AsyncIterable<Batch>;
  /** The event at a position; undefined if there is none, as when the position is of another log. */
  eventAt(position: Position): Promise<RecordedEvent | undefined>;
  /** Position of the last event; `start` if there is none. */
  end(): Promise<Position>;
  /** Lets go of everything. Subscriptions end; pending appends are finished first. */
  close(): Promise<void>;
};

/** The log. */
export type EventStore = EventLog & {
  /** True if nobody but this process can append while it is open. */
  readonly exclusive: boolean;
  /**
   * Appends all events to one stream, or none. When it resolves they are on disk.
   * @throws WrongExpectedRevision if the stream is not where it was expected to be
   * The same events appended again where they were expected are not recorded twice.
   * @throws StoreUnavailable if the store cannot write now, such as on a full disk; nothing was recorded, unless the store is
   * behind a network and did not answer: then nobody can know, and the same append may be asked for again
   * @throws MemoirError INVALID_ARGUMENT EVENT_TOO_LARGE naming the limit if the store never takes as much at once
   */
  append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended>;
  /** Throws EVENT_TOO_LARGE as `append` would, as far as the limit is known; absent where there is none. */
  readonly checkSize?: (stream: string, events: readonly NewEvent[]) => void;
  /** Has the log compared with what is known of it before anything is appended again; absent where nobody can exchange it. */
  readonly suspect?: () => void;
};

/** The stream is not where the append expected it to be; nothing was appended. */
export class WrongExpectedRevision extends Error {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  /** Last revision of the stream; -1 if it has no event. */
  readonly actual: number;

  constructor(stream: string, expected: ExpectedRevision, actual: number) {
    const found = actual < 0 ? 'it has no event' : `it is at ${actual}`;
    super(`stream ${stream} was expected at ${expected === 'no_stream' ? 'no event' : expected}, but ${found}`);
    this.name = 'WrongExpectedRevision';
    this.stream = stream;
    this.expected = expected;
    this.actual = actual;
  }
}

/** The store cannot write or read now. */
export class StoreUnavailable extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreUnavailable';
  }
}

/** The store cannot be reached, or does not answer: another time it may. */
export class StoreUnreachable extends StoreUnavailable {}

/** The store refuses to be used as it is to be used: only other settings, or another certificate, can help. */
export class StoreRefused extends StoreUnavailable {}

/** The stream was deleted for good in the store by somebody else; nothing of it can be read, and nothing appended. */
export class StreamDeleted extends StoreUnavailable {}

/** The store's file is no Memoir log, is damaged, or is of a version that this one cannot read. Nothing was changed. */
export class StoreUnreadable extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreUnreadable';
  }
}

/** The log is one that this process must not go on with: it takes no part in it until it is started anew, and writes nothing. */
export class LogRefused extends Error {
  /** A stable word in upper case, for programs. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'LogRefused';
    this.reason = reason;
  }
}

/** The log has an event of a format that this version does not know, and must not pass over. */
export class NewerLog extends LogRefused {
  constructor(message: string) {
    super('NEWER_LOG', message);
    this.name = 'NewerLog';
  }
}

/** What a store throws, by its classes: so these come out of a thread as what they were. */
export const storeErrors = [
  WrongExpectedRevision,
  StoreUnavailable,
  StoreUnreachable,
  StoreRefused,
  StreamDeleted,
  StoreUnreadable,
  LogRefused,
  NewerLog,
];

/** Who called when an event was recorded; empty if its metadata does not say. */
export function principalOf({ metadata }: Pick<RecordedEvent, 'metadata'>): string {
  try {
    const { principal } = JSON.parse(metadata) as { readonly principal?: unknown };
    return typeof principal === 'string' ? principal : '';
  } catch {
    return '';
  }
}

/** The metadata as ProtoJSON of memoir.history.v1.EventMetadata, with its members in a fixed order. */
export function metadataJson(metadata: EventMetadata): string {
  const { principal, requestId, traceparent, serverVersion, logFormat = 1, credential, actor } = metadata;
  // Members that are undefined are left out.
  return JSON.stringify({
    principal,
    requestId,
    traceparent: traceparent || undefined,
    serverVersion,
    logFormat: logFormat > 1 ? logFormat : undefined,
    credential,
    actor,
  });
}
