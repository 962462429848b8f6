import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { ServerCredentials } from '@grpc/grpc-js';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { pino } from 'pino';
import { serverConfig } from '../../../src/config.js';
import { systemEdge } from '../../../src/edge.js';
import type { Admission } from '../../../src/rpc/http2/admission.js';
import { openLimiter } from '../../../src/rpc/limits/limiter.js';
import { listen, type RpcServer } from '../../../src/rpc/server.js';
import { callerLimits, rpcLimits } from '../../../src/serving/rpc-limits.js';

/** What a server of health alone is made with. */
export type BareOptions = {
  readonly rpc?: object;
  readonly limits?: object;
  readonly tls?: ServerCredentials;
  readonly admission?: Admission;
};

/** A server of health and reflection alone, with the door of every server before it. */
export async function bareServer({ rpc = {}, limits = {}, tls, admission }: BareOptions): Promise<RpcServer> {
  const config = serverConfig.parse({ data_dir: '/nowhere', rpc, limits });
  const server = await listen('127.0.0.1', 0, new Map(), {
    limits: rpcLimits(config),
    edge: systemEdge,
    logger: pino({ level: 'silent' }),
    tls,
    admission,
    named: (headers) => String(headers['memoir-principal'] ?? 'anonymous'),
    limiter: openLimiter(callerLimits(config), systemEdge),
  });
  server.setServing('', true);
  return server;
}

const same = (bytes: Buffer) => bytes;

/** A client of health, whose streams stay open until the server or the connection ends them. */
export function healthClient(address: string, how = credentials.createInsecure()) {
  const client = new Client(address, how, { 'grpc.use_local_subchannel_pool': 1 });
  return {
    check: () =>
      new Promise<void>((resolve, reject) => {
        client.makeUnaryRequest(
          '/grpc.health.v1.Health/Check',
          same,
          same,
          Buffer.alloc(0),
          (error: ServiceError | null) => (error ? reject(error) : resolve()),
        );
      }),
    /** `begun` when its first message is there, `ended` with what the stream ended with. */
    watch() {
      const stream = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', same, same, Buffer.alloc(0));
      const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
      return { begun: once(stream, 'data'), ended, cancel: () => stream.cancel() };
    },
    close: () => client.close(),
  };
}

/** A way to a server on which what the client says can be held back, while what the server says still comes. */
export async function mutingProxy(server: string) {
  const [host = '', port] = server.split(':');
  const open = new Set<Socket>();
  let muted = false;
  const proxy = createServer((socket) => {
    const upstream = connect(Number(port), host);
    for (const one of [socket, upstream]) {
      open.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        socket.destroy();
        upstream.destroy();
      });
    }
    socket.on('data', (piece) => {
      if (!muted) upstream.write(piece);
    });
    upstream.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    address: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    mute() {
      muted = true;
    },
    close() {
      for (const one of open) one.destroy();
      proxy.close();
    },
  };
}
