import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { unpackToCommandError } from '@kurrent/kurrentdb-client/dist/streams/appendToStream/unpackError.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import type { ExpectedRevision } from '../port.js';
import { asCommandError, internalsOf } from './read-call.js';
import { type AppendAnswer, appendAnswerFrom } from './wire/append-answer.js';
import { type AppendData, appendRequest } from './wire/append-request.js';

/**
 * Appends under way at once by one client. All of them share one stream of requests, and are answered as they are done. Each may be of a
 * megabyte or more, which is kept until it was sent.
 */
export const maxUnderWay = 64;

/** Where an append ended, as the server says. */
export type AppendedThere = Pick<AppendAnswer, 'revision' | 'commit'>;

type Waiting = {
  readonly stream: string;
  readonly resolve: (appended: AppendedThere) => void;
  readonly reject: (error: unknown) => void;
};

/** A stream of requests, and what was sent there and not answered yet. */
type Live = {
  readonly call: ClientDuplexStream<Uint8Array, AppendAnswer>;
  readonly waiting: Map<string, Waiting>;
};

/** That of each client, while it lives. */
const streams = new WeakMap<KurrentDBClient, Live | Promise<Live>>();

const { path } = streamsGrpc.StreamsService.batchAppend;

/**
 * One attempt to append, by the published protocol, over the channel of the client, which would parse and write each event again.
 * `correlation` is a UUID that no other attempt has. Throws as the client does.
 */
export async function appendOnce(
  client: KurrentDBClient,
  correlation: string,
  stream: string,
  expected: ExpectedRevision,
  data: AppendData,
): Promise<AppendedThere> {
  const there = streams.get(client) ?? open(client);
  const { call, waiting } = there instanceof Promise ? await there : there;
  const deadline = internalsOf(client).createDeadline().getTime();
  return new Promise((resolve, reject) => {
    waiting.set(correlation, { stream, resolve, reject });
    call.write(appendRequest(correlation, stream, expected, deadline, data));
  });
}

/** Opens the client's stream of requests. */
function open(client: KurrentDBClient): Promise<Live> {
  const opening = openNow(client);
  streams.set(client, opening);
  opening.catch(() => {
    if (streams.get(client) === opening) streams.delete(client);
  });
  return opening;
}

async function openNow(client: KurrentDBClient): Promise<Live> {
  const waiting: Live['waiting'] = new Map();
  const internals = internalsOf(client);
  const make = internals.GRPCStreamCreator(streamsGrpc.StreamsClient, 'appendToStream', (stub) => {
    const made = stub.makeBidiStreamRequest(
      path,
      ({ buffer, byteOffset, byteLength }: Uint8Array) => Buffer.from(buffer, byteOffset, byteLength),
      appendAnswerFrom,
      ...internals.callArguments({ requiresLeader: true }, { deadline: Number.POSITIVE_INFINITY }),
    );
    made.on('data', (answer: AppendAnswer) => hear(waiting, answer));
    made.on('error', (error) => end(asCommandError(error)));
    made.on('end', () => end(new Error('the server ended the stream of appends')));
    return made;
  });

  let ended: unknown;

  /** What was sent and not answered may have been recorded or not; what comes now goes by another stream. */
  function end(error: unknown): void {
    ended = error;
    streams.delete(client);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  try {
    const live: Live = { call: await make(), waiting };
    if (ended !== undefined) throw ended;
    streams.set(client, live);
    return live;
  } catch (error) {
    throw asCommandError(error);
  }
}

function hear(waiting: Live['waiting'], { correlation, refusal, revision, commit }: AppendAnswer): void {
  const one = waiting.get(correlation);
  if (!one) return;
  waiting.delete(correlation);
  if (refusal) one.reject(unpackToCommandError(refusal, one.stream));
  else one.resolve({ revision, commit });
}
