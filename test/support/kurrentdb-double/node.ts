import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import {
  type MethodDefinition,
  Server,
  type ServerCredentials,
  type ServiceError,
  status,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import gossipGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import featuresGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import { serveAppend, serveBatchAppend } from './appends.js';
import { serveDelete, serveTombstone } from './deletes.js';
import { clusterInfo, type Member, supportedMethods } from './node-answers.js';
import type { Endpoint, Node } from './node-calls.js';
import { accessDenied, busyError, callError, deniedError, tooBusy, unauthenticated } from './protocol.js';
import { type ReadCall, serveRead } from './reads.js';
import { type Ending, type Stopping, stopping } from './stopping.js';

/** What a node is given. */
export type NodeOptions = Omit<Node, 'dropConnections'> & {
  members(): readonly Member[];
  readonly credentials: ServerCredentials;
  /** Value of the authorization header that every call of a stream needs. */
  readonly authorization?: string;
  /** Another value, with which nothing may be appended. */
  readonly readerAuthorization?: string;
};

/** A node that runs. Its connections go by a proxy, which can cut them without a word. */
export type RunningNode = Node & {
  readonly endpoint: Endpoint;
  /** Lets no new connections in, or lets them in again. */
  refuse(refused: boolean): void;
  /** Takes whatever clients send, on old connections and new ones, and never answers, as a network that loses everything; or no more. */
  swallow(swallowed: boolean): void;
  /** Reads nothing more of what clients send, so that their writes pile up, or goes on. */
  stall(stalled: boolean): void;
  /** Begins to end as at SIGTERM: calls are refused. At the reset nobody can connect any more. */
  terminate(): Ending;
  stop(): Promise<void>;
};

/** Starts a node on a free port of this machine. */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const server = new Server({
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
    // The call behind them waits, without a word.
    'grpc.max_concurrent_streams': 100,
  });
  const sockets = new Set<Socket>();
  const end = stopping();
  const inbound = new Set<Socket>();
  let refused = false;
  let swallowed = false;
  const node: Node = {
    ...options,
    dropConnections() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
  };
  serve(server, node, options, end);
  const inner = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', options.credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
  const proxy: NetServer = createServer((socket) => {
    if (refused) return void socket.resetAndDestroy();
    if (swallowed) return void hole(socket);
    const behind = connect(inner, '127.0.0.1');
    inbound.add(socket);
    socket.on('close', () => inbound.delete(socket));
    for (const [one, other] of [
      [socket, behind],
      [behind, socket],
    ] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  function hole(socket: Socket): void {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.resume();
  }
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  return {
    ...node,
    endpoint: { host: '127.0.0.1', port },
    refuse(value) {
      refused = value;
    },
    swallow(value) {
      swallowed = value;
      for (const socket of inbound) {
        if (swallowed) socket.unpipe().resume();
        else socket.resetAndDestroy();
      }
    },
    stall(stalled) {
      for (const socket of inbound) {
        if (stalled) socket.pause();
        else socket.resume();
      }
    },
    terminate() {
      const ending = end.begin();
      return {
        ...ending,
        reset() {
          refused = true;
          ending.reset();
          // Then it is gone.
          setTimeout(node.dropConnections, 100).unref();
        },
      };
    },
    async stop() {
      node.dropConnections();
      server.forceShutdown();
      await new Promise<void>((resolve) => proxy.close(() => resolve()));
    },
  };
}

function serve(server: Server, node: Node, options: NodeOptions, end: Stopping): void {
  type Call = { metadata: { get(key: string): unknown[] }; emit(event: 'error', error: Error): boolean };
  /** Why a call is refused; one without credentials is, where they are needed, and wrong ones are everywhere. */
  function refusal(call: Call, needed: 'never' | 'to read' | 'to append'): ServiceError | undefined {
    const given = call.metadata.get('authorization')[0];
    if (options.authorization === undefined || given === options.authorization) return undefined;
    if (given !== undefined && given === options.readerAuthorization) {
      return needed === 'to append' ? accessDenied() : undefined;
    }
    if (given === undefined || String(given).startsWith('Bearer')) {
      return needed === 'never' ? undefined : accessDenied();
    }
    const text = Buffer.from(String(given).replace(/^Basic /, ''), 'base64').toString();
    // Not even read.
    if (!text.includes(':')) return callError(status.UNKNOWN, 'Received HTTP status code 500');
    return unauthenticated();
  }
  const { read, append, batchAppend, delete: soft, tombstone } = streamsGrpc.StreamsService;
  const bytes = { ...read, responseSerialize: (answer: unknown) => answer as Buffer } as unknown as MethodDefinition<
    never,
    never
  >;
  const deleting =
    (serveIt: typeof serveDelete | typeof serveTombstone): UntypedHandleCall =>
    (call: Parameters<typeof serveDelete>[1], callback: Parameters<typeof serveDelete>[2]) => {
      const refused = refusal(call, 'to append');
      if (refused) callback(refused);
      else serveIt(node, call as never, callback as never);
    };
  server.addService({ read: bytes, append, batchAppend, delete: soft, tombstone } as never, {
    delete: deleting(serveDelete),
    tombstone: deleting(serveTombstone),
    read: ((call: ReadCall) => {
      const refused = refusal(call, 'to read');
      end.track(call);
      if (end.phase() === 'hanging') return;
      if (end.phase() === 'refusing') call.emit('error', tooBusy());
      else if (refused) call.emit('error', refused);
      else void serveRead(node, call);
    }) as UntypedHandleCall,
    append: ((call: Parameters<typeof serveAppend>[1], callback: Parameters<typeof serveAppend>[2]) => {
      const refused = refusal(call, 'to append');
      if (end.phase() === 'hanging') return;
      if (end.phase() === 'refusing') callback(tooBusy());
      else if (refused) callback(refused);
      else serveAppend(node, call, callback);
    }) as UntypedHandleCall,
    batchAppend: ((call: Parameters<typeof serveBatchAppend>[1]) => {
      const refused = refusal(call, 'to append');
      end.track(call);
      if (end.phase() === 'hanging') return;
      if (refused?.code === status.UNAUTHENTICATED) call.emit('error', refused);
      else serveBatchAppend(node, call, () => (end.phase() !== 'serving' ? busyError() : refused && deniedError()));
    }) as UntypedHandleCall,
  });
  server.addService(gossipGrpc.GossipService, {
    read: ((call: Call, callback: (error: ServiceError | null, info?: unknown) => void) => {
      const refused = refusal(call, 'never');
      if (end.phase() === 'hanging') return;
      if (refused) callback(refused);
      else callback(null, clusterInfo(options.members(), end.phase() === 'refusing'));
    }) as UntypedHandleCall,
  });
  server.addService(featuresGrpc.ServerFeaturesService, {
    getSupportedMethods: ((call: Call, callback: (error: ServiceError | null, methods?: unknown) => void) => {
      const refused = refusal(call, 'never');
      if (refused) callback(refused);
      else callback(null, supportedMethods());
    }) as UntypedHandleCall,
  });
}
