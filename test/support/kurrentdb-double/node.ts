import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import {
  type MethodDefinition,
  Server,
  type ServerCredentials,
  type ServiceError,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import gossipGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import featuresGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import streamsGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import { type Authorizations, refusalsOf } from './access.js';
import { serveAppend, serveBatchAppend } from './appends.js';
import { serveDelete, serveTombstone } from './deletes.js';
import { type Ending, type Modes, modes } from './modes.js';
import { clusterInfo, type Member, supportedMethods } from './node-answers.js';
import type { Endpoint, Node } from './node-calls.js';
import { deniedError, streamName, tooBusy } from './protocol.js';
import { type ReadCall, serveRead } from './reads.js';

/** What a node is given. */
export type NodeOptions = Omit<Node, 'dropConnections' | 'modes'> &
  Authorizations & {
    members(): readonly Member[];
    readonly credentials: ServerCredentials;
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
  const own = modes();
  const inbound = new Set<Socket>();
  let refused = false;
  let swallowed = false;
  const node: Node = {
    ...options,
    modes: own,
    dropConnections() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
  };
  serve(server, node, options, own);
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
      const ending = own.end();
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

function serve(server: Server, node: Node, options: NodeOptions, own: Modes): void {
  type Call = { metadata: { get(key: string): unknown[] }; emit(event: 'error', error: Error): boolean };
  const refusal = refusalsOf(options, options.log);
  const hangs = () => own.mode() === 'hanging';
  const { read, append, batchAppend, delete: soft, tombstone } = streamsGrpc.StreamsService;
  const bytes = { ...read, responseSerialize: (answer: unknown) => answer as Buffer } as unknown as MethodDefinition<
    never,
    never
  >;
  const deleting =
    (serveIt: typeof serveDelete | typeof serveTombstone): UntypedHandleCall =>
    (call: Parameters<typeof serveDelete>[1], callback: Parameters<typeof serveDelete>[2]) => {
      const stream = streamName(call.request.getOptions()?.getStreamIdentifier());
      const refused = refusal(call, { to: 'append', stream });
      if (hangs()) return;
      if (refused) callback(refused);
      else serveIt(node, call as never, callback as never);
    };
  server.addService({ read: bytes, append, batchAppend, delete: soft, tombstone } as never, {
    delete: deleting(serveDelete),
    tombstone: deleting(serveTombstone),
    read: ((call: ReadCall) => {
      const identifier = call.request.getOptions()?.getStream()?.getStreamIdentifier();
      const refused = refusal(call, { to: 'read', ...(identifier && { stream: streamName(identifier) }) });
      own.track(call);
      if (hangs()) return;
      if (own.mode() === 'ending') call.emit('error', tooBusy());
      else if (refused) call.emit('error', refused);
      else void serveRead(node, call);
    }) as UntypedHandleCall,
    append: ((call: Parameters<typeof serveAppend>[1], callback: Parameters<typeof serveAppend>[2]) => {
      if (!hangs()) serveAppend(node, call, callback, (stream) => refusal(call, { to: 'append', stream }));
    }) as UntypedHandleCall,
    batchAppend: ((call: Parameters<typeof serveBatchAppend>[1]) => {
      const refused = refusal(call, { to: 'ask' });
      own.track(call);
      if (hangs()) return;
      if (refused) call.emit('error', refused);
      else
        serveBatchAppend(node, call, (stream) => (refusal(call, { to: 'append', stream }) ? deniedError() : undefined));
    }) as UntypedHandleCall,
  });
  server.addService(gossipGrpc.GossipService, {
    read: ((call: Call, callback: (error: ServiceError | null, info?: unknown) => void) => {
      const refused = refusal(call, { to: 'ask' });
      if (hangs()) return;
      if (refused) callback(refused);
      else callback(null, clusterInfo(options.members()));
    }) as UntypedHandleCall,
  });
  server.addService(featuresGrpc.ServerFeaturesService, {
    getSupportedMethods: ((call: Call, callback: (error: ServiceError | null, methods?: unknown) => void) => {
      const refused = refusal(call, { to: 'ask' });
      if (hangs()) return;
      if (refused) callback(refused);
      else callback(null, supportedMethods());
    }) as UntypedHandleCall,
  });
}
