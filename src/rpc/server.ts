import type { DescService } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import type { Edge } from '../edge.js';
import { requestIdOf } from './call.js';
import type { Admission } from './http2/admission.js';
import { checkCallHeaders } from './http2/call-headers.js';
import { type Connections, watchConnections } from './http2/connections.js';
import { mendEmptyMessages } from './http2/empty-messages.js';
import { detailErrors, refuse } from './http2/library-errors.js';
import type { RpcLimits } from './http2/limits.js';
import { takeStreams, type Underneath } from './http2/seam.js';
import { addReflection } from './reflection.js';
import type { Served } from './service.js';

/** How long grpc-js may take to notice that all its connections are closed, in milliseconds. */
const closingTime = 2_000;

/** A gRPC server that listens. */
export type RpcServer = {
  /** Address that it is bound to, as host:port. */
  readonly address: string;
  /** Says through the health service whether calls of a service are answered; of "", whether those of all are. */
  setServing(service: string, serving: boolean): void;
  /** Names of the services. */
  readonly services: readonly string[];
  /**
   * Takes no more calls, lets those under way end for up to `drainMs` milliseconds, then cuts them off and closes every connection,
   * whatever its client says or does not say.
   */
  stop(drainMs: number): Promise<void>;
};

/** What a server listens with. */
export type ListenParts = {
  readonly limits: RpcLimits;
  readonly edge: Edge;
  readonly logger: Logger;
  /** What connections are encrypted with; absent for nothing. */
  readonly tls?: ServerCredentials | undefined;
  /** What lets calls in; absent where all are. */
  readonly admission?: Admission | undefined;
};

/**
 * Serves the services, and beside them grpc.health.v1 and server reflection.
 * @throws Error naming the address if it cannot be bound
 */
export async function listen(
  host: string,
  port: number,
  services: ReadonlyMap<DescService, Served>,
  { limits, edge, logger, tls, admission }: ListenParts,
): Promise<RpcServer> {
  const server = new Server(optionsOf(limits));
  for (const { definition, implementation } of services.values()) server.addService(definition, implementation);
  const names = [...services.keys()].map(({ typeName }) => typeName);
  const health = new HealthImplementation(Object.fromEntries(['', ...names].map((name) => [name, 'NOT_SERVING'])));
  health.addToServer(server);
  addReflection(server, [...services.keys()]);
  const { bound, underneath } = await bind(
    server,
    host.includes(':') ? `[${host}]` : host,
    port,
    tls ?? ServerCredentials.createInsecure(),
  );
  const servers = underneath.map(({ http2 }) => http2);
  const connections = watchConnections(servers, limits, () => edge.monotonic(), logger);
  for (const one of underneath) serveCalls(one, connections, admission);

  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${bound}`,
    services: names,
    setServing: (service, serving) => health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING'),
    async stop(drainMs) {
      const timers: NodeJS.Timeout[] = [];
      const after = (ms: number, act: () => void) => void timers.push(setTimeout(act, ms));
      const ended = new Promise<void>((resolve) => {
        server.tryShutdown(() => resolve());
        after(drainMs, () => {
          server.forceShutdown();
          connections.closeAll();
        });
        after(drainMs + closingTime, resolve);
      });
      connections.closeIdle();
      await ended;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function optionsOf({ maxStreams, maxRequestBytes }: RpcLimits): ServerOptions {
  return {
    'grpc.max_receive_message_length': maxRequestBytes,
    'grpc.max_send_message_length': -1,
    // Dead peers of streams are noticed within about a minute.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.max_concurrent_streams': maxStreams,
  };
}

function bind(
  server: Server,
  host: string,
  port: number,
  credentials: ServerCredentials,
): Promise<{ readonly bound: number; readonly underneath: readonly Underneath[] }> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
      if (error) {
        reject(new Error(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error }));
        return;
      }
      try {
        resolve({ bound, underneath: takeStreams(server) });
      } catch (changed) {
        server.forceShutdown();
        reject(changed);
      }
    });
  });
}

/** Hands the calls of a server to grpc-js, after what it would not see or would do otherwise. */
function serveCalls({ http2, serve }: Underneath, connections: Connections, admission: Admission | undefined): void {
  http2.on('stream', (stream, headers, flags) => {
    const { session } = stream;
    connections.callOpened(session);
    stream.once('close', () => connections.callClosed(session, stream.rstCode));
    const requestId = requestIdOf(headers['x-request-id']) ?? '';
    const refusal = checkCallHeaders(headers);
    if (refusal) {
      refuse(stream, refusal, requestId);
      return;
    }
    const enter = () => {
      detailErrors(stream, requestId, String(headers[':path']));
      const encoding = headers['grpc-encoding'];
      if (encoding !== undefined && encoding !== 'identity') mendEmptyMessages(stream);
      serve(stream, headers, flags);
    };
    if (admission) admission.admit(stream, headers, enter, (error) => refuse(stream, error, requestId));
    else enter();
  });
}
