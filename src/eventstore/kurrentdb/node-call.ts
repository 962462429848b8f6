import {
  type ChannelCredentials,
  Client,
  type ClientOptions,
  credentials as grpcCredentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import gossipGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { firstRequest } from './read-call.js';
import { nameNoAddresses } from './server-name.js';
import type { Endpoint, KurrentUrl } from './url.js';

/** A stream that no job has, and a revision that none has: an append there is refused whatever it is, before anything is written. */
const nowhere = 'job-00000000-0000-0000-0000-000000000000';
const never = String(2n ** 62n);

/** A few calls of one node by the published protocol, which say why they fail. Each gives the error of the call; undefined for none. */
export type NodeCalls = {
  /** Asks who is in the cluster, as anybody may, but for who has wrong credentials. */
  gossip(milliseconds: number): Promise<ServiceError | undefined>;
  /** Asks for the first event of the whole log, whatever it is. */
  mayRead(milliseconds: number): Promise<ServiceError | undefined>;
  /** Asks for an append that cannot be, so that nothing is written, but who may not append is refused. */
  mayAppend(milliseconds: number): Promise<ServiceError | undefined>;
  close(): void;
};

/** Calls of a node. Nothing is connected before the first. */
export function callsOf({ host, port }: Endpoint, url: KurrentUrl): NodeCalls {
  const channel = channelCredentials(url);
  const options: Partial<ClientOptions> = { 'grpc.enable_retries': 0, 'grpc.use_local_subchannel_pool': 1 };
  const client = new Client(`${host}:${port}`, channel, options);
  const metadata = new Metadata();
  // Over an open connection they are not sent, as the client does it.
  if (url.credentials && url.tls) {
    const { username, password } = url.credentials;
    metadata.set('authorization', `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`);
  }

  return {
    gossip: (milliseconds) =>
      new Promise((resolve) => {
        const { path, requestSerialize, responseDeserialize } = gossipGrpc.GossipService.read;
        const deadline = Date.now() + milliseconds;
        const none = new sharedPb.Empty();
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, none, metadata, { deadline }, (error) =>
          resolve(error ?? undefined),
        );
      }),
    mayRead: (milliseconds) =>
      new Promise((resolve) => {
        const { path, requestSerialize, responseDeserialize } = streamsGrpc.StreamsService.read;
        const deadline = Date.now() + milliseconds;
        const call = client.makeServerStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          firstRequest(),
          metadata,
          { deadline },
        );
        call.on('error', (error) => resolve(error as ServiceError));
        call.on('end', () => resolve(undefined));
        call.resume();
      }),
    mayAppend: (milliseconds) =>
      new Promise((resolve) => {
        const { path, requestSerialize, responseDeserialize } = streamsGrpc.StreamsService.append;
        const deadline = Date.now() + milliseconds;
        const call = client.makeClientStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          metadata,
          { deadline },
          (error) => resolve(error ?? undefined),
        );
        call.write(impossibleAppend());
        call.end();
      }),
    close: () => client.close(),
  };
}

/** How calls to a node are encrypted, and the node known. */
export function channelCredentials({ tls }: KurrentUrl): ChannelCredentials {
  if (!tls) return grpcCredentials.createInsecure();
  nameNoAddresses();
  const { ca = null, key = null, certificate = null, verify } = tls;
  return grpcCredentials.createSsl(ca, key, certificate, verify ? {} : { rejectUnauthorized: false });
}

function impossibleAppend() {
  const stream = new sharedPb.StreamIdentifier();
  stream.setStreamName(Buffer.from(nowhere));
  const options = new streamsPb.AppendReq.Options();
  options.setStreamIdentifier(stream);
  options.setRevision(never);
  const request = new streamsPb.AppendReq();
  request.setOptions(options);
  return request;
}
