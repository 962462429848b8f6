import type { CallOptions, ClientReadableStream, Metadata } from '@grpc/grpc-js';
import { convertToCommandError, type KurrentDBClient } from '@kurrent/kurrentdb-client';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { streamPrefixes } from '../../domain/streams.js';
import { type Position, start } from '../port.js';
import { NoAnswer } from './failure.js';
import { type ReadAnswer, readAnswerFrom } from './wire/read-answer.js';

/** What is asked for. */
export type ReadRequest = InstanceType<typeof streamsPb.ReadReq>;

type Options = InstanceType<typeof streamsPb.ReadReq.Options>;

/** A call that sends messages until it ends. */
export type ReadCall = ClientReadableStream<ReadAnswer>;

/** Who reads, and where. */
export type ReadCallOptions = {
  readonly credentials?: { readonly username: string; readonly password: string } | undefined;
  /** Whether only the leader may answer. */
  readonly requiresLeader?: boolean;
};

/** What the client makes its own calls with: its channel, which it connects anew, to the leader, when a call fails. */
type Internals = {
  GRPCStreamCreator<Call>(
    service: typeof streamsGrpc.StreamsClient,
    name: string,
    creator: (stub: InstanceType<typeof streamsGrpc.StreamsClient>) => Call,
  ): () => Promise<Call>;
  callArguments(of: ReadCallOptions, options: CallOptions): [Metadata, CallOptions];
  /** When a call that begins now is to be given up. */
  createDeadline(): Date;
};

/** The same of a client. */
export const internalsOf = (client: KurrentDBClient): Internals => client as unknown as Internals;

const { read: readMethod } = streamsGrpc.StreamsService;

/**
 * Sends a read by the published protocol, over the channel of the client. (The client's own reads go by its other half, in which a small
 * answer may wait 40 ms for an acknowledgement: kurrent-io/KurrentDB-Client-Rust issue 232.) Throws as the client does.
 */
export async function openRead(
  client: KurrentDBClient,
  request: ReadRequest,
  options: ReadCallOptions,
): Promise<ReadCall> {
  const internals = internalsOf(client);
  const open = internals.GRPCStreamCreator(streamsGrpc.StreamsClient, 'read', (stub) =>
    stub.makeServerStreamRequest(
      readMethod.path,
      readMethod.requestSerialize,
      readAnswerFrom,
      request,
      ...internals.callArguments(options, { deadline: Number.POSITIVE_INFINITY }),
    ),
  );
  try {
    return await open();
  } catch (error) {
    throw asCommandError(error);
  }
}

/**
 * Reads to the end of the answer. `each` is given every message; what it throws ends the read.
 * @throws NoAnswer after so many milliseconds in which nothing came; else as the client does
 */
export async function readToEnd(
  opening: Promise<ReadCall>,
  milliseconds: number,
  each: (answer: ReadAnswer) => void,
): Promise<void> {
  let call: ReadCall | undefined;
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new NoAnswer(milliseconds)), milliseconds);
      opening.then((opened) => {
        call = opened;
        // Its cancellation is told as an error too.
        opened.on('error', (error) => reject(asCommandError(error)));
        if (over) {
          opened.cancel();
          return;
        }
        opened.on('end', resolve);
        opened.on('data', (answer: ReadAnswer) => {
          timer?.refresh();
          try {
            each(answer);
          } catch (error) {
            reject(error);
          }
        });
      }, reject);
    });
  } catch (error) {
    call?.cancel();
    throw error;
  } finally {
    over = true;
    clearTimeout(timer);
  }
}

/** The error of a call as the client tells it. */
export function asCommandError(error: unknown): unknown {
  return error instanceof Error ? convertToCommandError(error) : error;
}

/** Asks for `count` events of a stream, from `from` on, or down, or from its beginning or end. */
export function streamRequest(
  stream: string,
  from: number | undefined,
  backwards: boolean,
  count: number,
): ReadRequest {
  const identifier = new sharedPb.StreamIdentifier();
  identifier.setStreamName(Buffer.from(stream));
  const part = new streamsPb.ReadReq.Options.StreamOptions();
  part.setStreamIdentifier(identifier);
  if (from !== undefined) part.setRevision(String(from));
  else if (backwards) part.setEnd(new sharedPb.Empty());
  else part.setStart(new sharedPb.Empty());
  const options = new streamsPb.ReadReq.Options();
  options.setStream(part);
  options.setNoFilter(new sharedPb.Empty());
  return request(counted(options, backwards, count));
}

/** Asks for `count` events of Memoir's streams in the log, from the position, or before it, or from the log's beginning or end. */
export function logRequest(from: Position | undefined, backwards: boolean, count: number): ReadRequest {
  const options = new streamsPb.ReadReq.Options();
  options.setAll(allOptions(from, backwards));
  options.setFilter(memoirFilter());
  return request(counted(options, backwards, count));
}

/** Asks for the first event of the whole log, whatever it is. */
export function firstRequest(): ReadRequest {
  const options = new streamsPb.ReadReq.Options();
  options.setAll(allOptions(undefined, false));
  options.setNoFilter(new sharedPb.Empty());
  return request(counted(options, false, 1));
}

/** Asks for all events of Memoir's streams behind the position, and for those to come. */
export function subscriptionRequest(after: Position): ReadRequest {
  const options = new streamsPb.ReadReq.Options();
  options.setAll(allOptions(after === start ? undefined : after, false));
  options.setSubscription(new streamsPb.ReadReq.Options.SubscriptionOptions());
  options.setFilter(memoirFilter());
  return request(options);
}

function allOptions(from: Position | undefined, backwards: boolean) {
  const part = new streamsPb.ReadReq.Options.AllOptions();
  if (from !== undefined) {
    const position = new streamsPb.ReadReq.Options.Position();
    position.setCommitPosition(String(from));
    position.setPreparePosition(String(from));
    part.setPosition(position);
  } else if (backwards) part.setEnd(new sharedPb.Empty());
  else part.setStart(new sharedPb.Empty());
  return part;
}

/** Lets the server pass over the streams of others, and tell subscribers often how far it is. */
function memoirFilter() {
  const expression = new streamsPb.ReadReq.Options.FilterOptions.Expression();
  expression.setPrefixList([...streamPrefixes]);
  const filter = new streamsPb.ReadReq.Options.FilterOptions();
  filter.setStreamIdentifier(expression);
  filter.setCount(new sharedPb.Empty());
  filter.setCheckpointintervalmultiplier(1);
  return filter;
}

function counted(options: Options, backwards: boolean, count: number): Options {
  const { BACKWARDS, FORWARDS } = streamsPb.ReadReq.Options.ReadDirection;
  options.setReadDirection(backwards ? BACKWARDS : FORWARDS);
  options.setCount(String(count));
  return options;
}

function request(options: Options): ReadRequest {
  const uuids = new streamsPb.ReadReq.Options.UUIDOption();
  uuids.setString(new sharedPb.Empty());
  options.setUuidOption(uuids);
  options.setResolveLinks(false);
  const made = new streamsPb.ReadReq();
  made.setOptions(options);
  return made;
}
