import { createRequire } from 'node:module';
import { type ClientDuplexStream, Metadata, type ServiceError } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { Expected } from '../support/kurrentdb-double/log.js';
import { idFrom } from '../support/kurrentdb-double/protocol.js';
import type { Client } from './kurrentdb-calls.js';

/** An event as it is sent. */
export type Sent = {
  readonly id: string;
  /** With `none` it is left out. */
  readonly type?: string;
  readonly contentType?: string;
  readonly data?: string;
};

/** What an append was answered with: a success, or the code, name and details of an error. */
export type Answer =
  | { readonly revision: number; readonly position?: number }
  | { readonly code: number; readonly message: string; readonly type: string; readonly details: Uint8Array };

const fromClient = createRequire(createRequire(import.meta.url).resolve('@kurrent/kurrentdb-client'));
type Duration = { setSeconds(seconds: number): void; setNanos(nanos: number): void };
type Timestamp = { fromDate(date: Date): unknown };
const timestampPb = fromClient('google-protobuf/google/protobuf/timestamp_pb.js') as { Timestamp: Timestamp };
const durationPb = fromClient('google-protobuf/google/protobuf/duration_pb.js') as { Duration: new () => Duration };

type BatchCall = ClientDuplexStream<
  InstanceType<typeof streamsPb.BatchAppendReq>,
  InstanceType<typeof streamsPb.BatchAppendResp>
>;

const empty = () => new sharedPb.Empty() as never;

function identifier(name: string) {
  const stream = new sharedPb.StreamIdentifier();
  stream.setStreamName(Buffer.from(name));
  return stream;
}

function uuidOf(text: string) {
  const uuid = new sharedPb.UUID();
  uuid.setString(text);
  return uuid;
}

type Headers = Readonly<Record<string, string>>;

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

/** One call of Append. */
export function appendAlone(
  client: Client,
  stream: string,
  expected: Expected,
  events: readonly Sent[],
  headers: Headers = {},
): Promise<InstanceType<typeof streamsPb.AppendResp>> {
  return new Promise((resolve, reject) => {
    const call = client.append(metadataOf(headers), (error, answer) => (error ? reject(error) : resolve(answer)));
    const options = new streamsPb.AppendReq.Options();
    options.setStreamIdentifier(identifier(stream));
    if (expected === 'any') options.setAny(empty());
    else if (expected === 'no_stream') options.setNoStream(empty());
    else if (expected === 'stream_exists') options.setStreamExists(empty());
    else options.setRevision(String(expected));
    const first = new streamsPb.AppendReq();
    first.setOptions(options);
    call.write(first);
    for (const event of events) {
      const request = new streamsPb.AppendReq();
      request.setProposedMessage(proposedOf(event) as never);
      call.write(request);
    }
    call.end();
  });
}

/** One call of BatchAppend. */
export function batch(client: Client, headers: Headers = {}) {
  const call = client.batchAppend(metadataOf(headers)) as BatchCall;
  const waiting = new Map<string, (answer: Answer) => void>();
  const order: string[] = [];
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    call.on('error', (error: ServiceError) => resolve(error));
    call.on('end', () => resolve(undefined));
  });
  call.on('data', (answer: InstanceType<typeof streamsPb.BatchAppendResp>) => {
    const id = idFrom(answer.getCorrelationId());
    order.push(id);
    waiting.get(id)?.(answerOf(answer));
  });

  /** Appends; `deadline` is a time, or in milliseconds from now. */
  function append(
    stream: string,
    expected: Expected,
    events: readonly Sent[],
    deadline?: number | Date,
  ): Promise<Answer> {
    const options = new streamsPb.BatchAppendReq.Options();
    options.setStreamIdentifier(identifier(stream));
    if (expected === 'any') options.setAny(empty());
    else if (expected === 'no_stream') options.setNoStream(empty());
    else if (expected === 'stream_exists') options.setStreamExists(empty());
    else options.setStreamPosition(String(expected));
    if (deadline instanceof Date) options.setDeadline21100(timestampPb.Timestamp.fromDate(deadline) as never);
    else if (deadline !== undefined) {
      const within = new durationPb.Duration();
      within.setSeconds(Math.trunc(deadline / 1_000));
      options.setDeadline(within as never);
    }
    const request = new streamsPb.BatchAppendReq();
    const id = crypto.randomUUID();
    request.setCorrelationId(uuidOf(id));
    request.setOptions(options);
    for (const event of events) request.addProposedMessages(proposedOf(event));
    request.setIsFinal(true);
    const answer = new Promise<Answer>((resolve, reject) => {
      waiting.set(id, resolve);
      void ended.then((error) => reject(error ?? new Error('the call has ended')));
    });
    answer.catch(() => undefined);
    call.write(request);
    return answer;
  }

  return { append, ended, end: () => call.end(), cancel: () => call.cancel(), order };
}

function proposedOf({ id, type = 'T', contentType = 'application/json', data = '{}' }: Sent) {
  const message = new streamsPb.BatchAppendReq.ProposedMessage();
  message.setId(uuidOf(id));
  if (type !== 'none') message.getMetadataMap().set('type', type);
  message.getMetadataMap().set('content-type', contentType);
  message.setData(Buffer.from(data));
  message.setCustomMetadata(Buffer.from('{}'));
  return message;
}

function answerOf(answer: InstanceType<typeof streamsPb.BatchAppendResp>): Answer {
  const error = answer.getError();
  if (error) {
    const details = error.getDetails();
    const type = details?.getTypeUrl().replace('type.googleapis.com/event_store.client.', '') ?? '';
    return {
      code: error.getCode(),
      message: error.getMessage(),
      type,
      details: details?.getValue_asU8() ?? Buffer.of(),
    };
  }
  const success = answer.getSuccess();
  const position = success?.getPosition();
  return {
    revision: success?.hasNoStream() ? -1 : Number(success?.getCurrentRevision()),
    ...(position && { position: Number(position.getCommitPosition()) }),
  };
}

/** What a read of a stream gives. */
export type StreamRead = {
  readonly missing?: true;
  readonly firsts?: readonly number[];
  readonly events?: readonly number[];
  readonly last?: number;
};

/** Reads a stream. */
export async function readStream(
  client: Client,
  stream: string,
  options: {
    readonly from?: 'start' | 'end' | bigint;
    readonly count?: number;
    readonly backwards?: boolean;
    readonly compatibility?: number;
    readonly headers?: Headers;
  } = {},
): Promise<StreamRead> {
  const { from = 'start', count = 100, backwards = false, compatibility = 1, headers = {} } = options;
  const place = new streamsPb.ReadReq.Options.StreamOptions();
  place.setStreamIdentifier(identifier(stream));
  if (from === 'start') place.setStart(empty());
  else if (from === 'end') place.setEnd(empty());
  else place.setRevision(String(from));
  const wanted = new streamsPb.ReadReq.Options();
  wanted.setStream(place);
  wanted.setCount(String(count));
  wanted.setNoFilter(empty());
  const { BACKWARDS, FORWARDS } = streamsPb.ReadReq.Options.ReadDirection;
  wanted.setReadDirection(backwards ? BACKWARDS : FORWARDS);
  const control = new streamsPb.ReadReq.Options.ControlOption();
  control.setCompatibility(compatibility);
  wanted.setControlOption(control);
  const request = new streamsPb.ReadReq();
  request.setOptions(wanted);
  const read: { missing?: true; firsts: number[]; events: number[]; last?: number } = { firsts: [], events: [] };
  for await (const answer of client.read(request, metadataOf(headers)) as unknown as AsyncIterable<
    InstanceType<typeof streamsPb.ReadResp>
  >) {
    if (answer.hasStreamNotFound()) read.missing = true;
    if (answer.hasFirstStreamPosition()) read.firsts.push(Number(answer.getFirstStreamPosition()));
    if (answer.hasLastStreamPosition()) read.last = Number(answer.getLastStreamPosition());
    const event = answer.getEvent()?.getEvent();
    if (event) read.events.push(Number(event.getStreamRevision()));
  }
  const { firsts, events, ...rest } = read;
  return { ...rest, ...(firsts.length > 0 && { firsts }), ...(events.length > 0 && { events }) };
}

/** Deletes a stream, for good if `forGood`. */
export function deleteStream(
  client: Client,
  stream: string,
  expected: Expected,
  forGood = false,
  headers: Headers = {},
): Promise<InstanceType<typeof streamsPb.DeleteResp | typeof streamsPb.TombstoneResp>> {
  const kind = forGood ? streamsPb.TombstoneReq : streamsPb.DeleteReq;
  const options = new kind.Options();
  options.setStreamIdentifier(identifier(stream));
  if (expected === 'any') options.setAny(empty());
  else if (expected === 'no_stream') options.setNoStream(empty());
  else if (expected === 'stream_exists') options.setStreamExists(empty());
  else options.setRevision(String(expected));
  const request = new kind();
  request.setOptions(options as never);
  return new Promise((resolve, reject) => {
    type Deleted = InstanceType<typeof streamsPb.DeleteResp | typeof streamsPb.TombstoneResp>;
    const done = (error: ServiceError | null, answer: Deleted) => (error ? reject(error) : resolve(answer));
    if (forGood) client.tombstone(request as never, metadataOf(headers), done);
    else client.delete(request as never, metadataOf(headers), done);
  });
}
