import { type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { ExecutionContext } from 'ava';
import type { Start } from '../support/kurrentdb-double/checkpoints.js';
import type { Double } from '../support/kurrentdb-double/double.js';
import '../support/native-client.js';

/** A client of the published protocol. */
export type Client = InstanceType<typeof streamsGrpc.StreamsClient>;

/** Where to begin; a number is both positions. */
export type From = Start | bigint;

/** A client of the published protocol, by grpc-js alone, so that what is on the wire can be seen. */
export function talkTo(t: ExecutionContext, double: Double, node = 0): Client {
  const { host, port } = double.nodes[node]?.endpoint ?? { host: '', port: 0 };
  const client = new streamsGrpc.StreamsClient(`${host}:${port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  return client;
}

/** Subscribes to the streams of jobs until the subscription has caught up so often: revisions of events, and checkpoints. */
export async function subscribe(client: Client, from: From, times = 1, heard?: string[]) {
  const options = allOptions(from);
  options.setSubscription(new streamsPb.ReadReq.Options.SubscriptionOptions());
  const checkpoints: [commit: bigint, prepare: bigint][] = [];
  const events: bigint[] = [];
  let caughtUp = 0;
  // Who wants to hear what is said needs the leader too.
  const call = callOf(client, options, heard && { 'requires-leader': 'true' });
  for await (const answer of call) {
    if (answer.hasConfirmation()) heard?.push('confirmation');
    const checkpoint = answer.getCheckpoint();
    if (checkpoint) checkpoints.push([BigInt(checkpoint.getCommitPosition()), BigInt(checkpoint.getPreparePosition())]);
    const event = answer.getEvent()?.getEvent();
    if (event) events.push(BigInt(event.getStreamRevision()));
    if (answer.hasCaughtUp() && ++caughtUp === times) break;
  }
  call.on('error', () => undefined);
  call.cancel();
  return { checkpoints, events };
}

/** Revisions of the events of jobs that a read of the whole log gives. */
export async function readAll(
  client: Client,
  {
    from,
    count,
    backwards = false,
    filtered = true,
    authorization,
    headers,
  }: {
    readonly from: From;
    readonly count: number;
    readonly backwards?: boolean;
    /** Without a filter, and with the word that there is none or without that. */
    readonly filtered?: boolean | 'no filter';
    readonly authorization?: string | undefined;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<bigint[]> {
  const options = allOptions(from);
  options.setCount(String(count));
  const { BACKWARDS, FORWARDS } = streamsPb.ReadReq.Options.ReadDirection;
  options.setReadDirection(backwards ? BACKWARDS : FORWARDS);
  const revisions: bigint[] = [];
  if (filtered !== true) options.clearFilter();
  if (filtered === 'no filter') options.setNoFilter(new sharedPb.Empty());
  for await (const answer of callOf(client, options, { ...headers, ...(authorization && { authorization }) })) {
    const event = answer.getEvent()?.getEvent();
    if (event) revisions.push(BigInt(event.getStreamRevision()));
  }
  return revisions;
}

/** A subscription that is left open: what it says, in order, and why it ends. */
export function listen(client: Client, from: From, headers: Readonly<Record<string, string>> = {}) {
  const options = allOptions(from);
  options.setSubscription(new streamsPb.ReadReq.Options.SubscriptionOptions());
  const call = callOf(client, options, headers);
  const said: InstanceType<typeof streamsPb.ReadResp>[] = [];
  call.on('data', (answer: InstanceType<typeof streamsPb.ReadResp>) => said.push(answer));
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    call.on('error', (error: ServiceError) => resolve(error));
    call.on('end', () => resolve(undefined));
  });
  return { said, kinds: () => said.map(kindOf), ended, cancel: () => call.cancel() };
}

/** What a message of a subscription is, in short: an event by its revision, a checkpoint by its position. */
function kindOf(answer: InstanceType<typeof streamsPb.ReadResp>): string {
  if (answer.hasConfirmation()) return 'confirmation';
  if (answer.hasCaughtUp()) return 'caught up';
  const checkpoint = answer.getCheckpoint();
  if (checkpoint) return `checkpoint ${checkpoint.getCommitPosition()}/${checkpoint.getPreparePosition()}`;
  return `event ${answer.getEvent()?.getEvent()?.getStreamRevision()}`;
}

type Answers = AsyncIterable<InstanceType<typeof streamsPb.ReadResp>> &
  ClientReadableStream<InstanceType<typeof streamsPb.ReadResp>>;

function callOf(
  client: Client,
  options: InstanceType<typeof streamsPb.ReadReq.Options>,
  headers: Readonly<Record<string, string>> = {},
): Answers {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const request = new streamsPb.ReadReq();
  request.setOptions(options);
  return client.read(request, metadata) as unknown as Answers;
}

function allOptions(from: From) {
  const options = new streamsPb.ReadReq.Options();
  const all = new streamsPb.ReadReq.Options.AllOptions();
  if (from === 'start') all.setStart(new sharedPb.Empty());
  else if (from === 'end') all.setEnd(new sharedPb.Empty());
  else {
    const position = new streamsPb.ReadReq.Options.Position();
    const { commit, prepare } = typeof from === 'bigint' ? { commit: from, prepare: from } : from;
    position.setCommitPosition(String(commit));
    position.setPreparePosition(String(prepare));
    all.setPosition(position);
  }
  options.setAll(all);
  const filter = new streamsPb.ReadReq.Options.FilterOptions();
  const expression = new streamsPb.ReadReq.Options.FilterOptions.Expression();
  expression.addPrefix('job-');
  filter.setStreamIdentifier(expression);
  filter.setCount(new sharedPb.Empty());
  filter.setCheckpointintervalmultiplier(1);
  options.setFilter(filter);
  const uuid = new streamsPb.ReadReq.Options.UUIDOption();
  uuid.setString(new sharedPb.Empty());
  options.setUuidOption(uuid);
  return options;
}
