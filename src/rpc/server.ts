import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { DescService } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { MemoirError } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { requestIdOf } from './call.js';
import type { Admission } from './http2/admission.js';
import { checkCallHeaders } from './http2/call-headers.js';
import { type Connections, watchConnections } from './http2/connections.js';
import { mendEmptyMessages } from './http2/empty-messages.js';
import { detailErrors, refuse } from './http2/library-errors.js';
import type { RpcLimits } from './http2/limits.js';
import type { Link } from './http2/link.js';
import { takeStreams, type Underneath } from './http2/seam.js';
import { type Turns, takingTurns } from './http2/turns.js';
import { kindsOfCall } from './limits/kinds-of-call.js';
import type { Limiter } from './limits/limiter.js';
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
  /** Whose a call is where nothing has to be proved; undefined for nobody's in particular. */
  readonly named: (headers: IncomingHttpHeaders) => string | undefined;
  /** What counts what callers take. */
  readonly limiter: Limiter;
};

/**
 * Serves the services, and beside them grpc.health.v1 and server reflection.
 * @throws Error naming the address if it cannot be bound
 */
export async function listen(
  host: string,
  port: number,
  services: ReadonlyMap<DescService, Served>,
  { limits, edge, logger, tls, admission, named, limiter }: ListenParts,
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
  const connections = watchConnections(servers, limits, edge, logger);
  const turns = takingTurns(limits.maxCallsInTurn);
  const entrance = { connections, turns, admission, named, limiter, kindOf: kindsOfCall(services.keys()) };
  for (const one of underneath) serveCalls(one, entrance);

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
      connections.closeAll();
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function optionsOf({ maxStreams, maxRequestBytes }: RpcLimits): ServerOptions {
  return {
    'grpc.max_receive_message_length': maxRequestBytes,
    'grpc.max_send_message_length': -1,
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

/** What calls go through before grpc-js sees them. */
type Entrance = Pick<ListenParts, 'admission' | 'named' | 'limiter'> & {
  readonly connections: Connections;
  readonly turns: Turns;
  readonly kindOf: ReturnType<typeof kindsOfCall>;
};

/** A call whose headers have come. */
type Arrival = {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly flags: number;
  readonly link: Link | undefined;
  readonly path: string;
  readonly requestId: string;
};

/** Hands the calls of a server to grpc-js, after what it would not see or would do otherwise. */
function serveCalls({ http2, serve }: Underneath, entrance: Entrance): void {
  const { connections, turns, admission, named, limiter, kindOf } = entrance;

  function turnAway({ stream, link, requestId }: Arrival, error: MemoirError): void {
    refuse(stream, error, requestId);
    connections.callRefused(link);
  }

  /** Lets a call in that is whosever it says, if that one may have another. */
  function enter(arrival: Arrival, principal: string | undefined): void {
    const { stream, headers, flags, link, path, requestId } = arrival;
    try {
      const leave = limiter.enter({ principal, address: link?.address ?? '' }, kindOf(path));
      if (leave) stream.once('close', leave);
    } catch (error) {
      if (!(error instanceof MemoirError)) throw error;
      turnAway(arrival, error);
      return;
    }
    detailErrors(stream, requestId, path);
    const encoding = headers['grpc-encoding'];
    if (encoding !== undefined && encoding !== 'identity') mendEmptyMessages(stream);
    serve(stream, headers, flags);
  }

  /** Refuses a call that proves nobody, or says that there are too many of these. */
  function refuseUnproven(arrival: Arrival, error: MemoirError): void {
    if (error.code !== 'UNAUTHENTICATED') {
      refuse(arrival.stream, error, arrival.requestId);
      return;
    }
    try {
      limiter.refused(arrival.link?.address ?? '');
      turnAway(arrival, error);
    } catch (tooMany) {
      if (!(tooMany instanceof MemoirError)) throw tooMany;
      turnAway(arrival, tooMany);
    }
  }

  function begin(arrival: Arrival): void {
    const { stream, headers, requestId } = arrival;
    const refusal = checkCallHeaders(headers);
    if (refusal) refuse(stream, refusal, requestId);
    else if (!admission) enter(arrival, named(headers));
    else {
      admission.admit(
        stream,
        headers,
        (credential) => enter(arrival, credential?.principal),
        (error) => refuseUnproven(arrival, error),
      );
    }
  }

  http2.on('stream', (stream, headers, flags) => {
    const link = connections.callOpened(stream.session);
    stream.once('close', () => connections.callClosed(link, stream.rstCode));
    const requestId = requestIdOf(headers['x-request-id']) ?? '';
    const arrival = { stream, headers, flags, link, path: String(headers[':path']), requestId };
    if (!link || turns.mayBegin(link)) begin(arrival);
    else turns.wait(link, stream, () => begin(arrival));
  });
}
