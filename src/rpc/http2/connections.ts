import { constants, type Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { allowance, type RpcLimits } from './limits.js';
import type { Connection } from './seam.js';

/** How often at most it is logged that connections are refused or ended, in milliseconds. */
const logInterval = 10_000;

/** How long a connection without calls may take to go after it was told that the server stops, in milliseconds. */
const idleGrace = 500;

/** The connections of a server. */
export type Connections = {
  /** Is told of each call, once it is over; a call that ended by a reset counts against its connection. */
  callOpened(connection: Connection | undefined): void;
  callClosed(connection: Connection | undefined, rstCode: number): void;
  /** Closes what has no calls, soon, although its client may say nothing at all. */
  closeIdle(): void;
  /** Closes everything, whatever is under way. */
  closeAll(): void;
};

type State = { readonly peer: string; calls: number; readonly resets: ReturnType<typeof allowance> };

/**
 * Keeps a server's connections within their limits: no more than so many, and none that goes on opening calls to reset them, which
 * costs a server more than its client (CVE-2023-44487). Calls that the server itself had to reset count too.
 */
export function watchConnections(
  servers: readonly Http2Server[],
  limits: RpcLimits,
  monotonic: () => number,
  logger: Logger,
): Connections {
  const states = new Map<Connection, State>();
  // By the client's end, which a session knows too, with TLS or without.
  const sockets = new Map<string, Socket>();
  let stopping = false;

  for (const server of servers) {
    server.maxConnections = limits.maxConnections;
    server.updateSettings({ maxConcurrentStreams: limits.maxStreams, maxHeaderListSize: limits.maxHeaderBytes });
    server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      sockets.set(peer, socket);
      socket.once('close', () => {
        if (sockets.get(peer) === socket) sockets.delete(peer);
      });
    });
    server.on('drop', () => refused());
    server.on('session', (session: Connection) => {
      states.set(session, { peer: peerOf(session.socket), calls: 0, resets: allowance(limits.maxResets, monotonic) });
      session.once('close', () => states.delete(session));
    });
  }

  const refused = seldom(monotonic, (times) =>
    logger.warn({ times, limit: limits.maxConnections }, 'connections were refused: there are as many as may be'),
  );
  const ended = seldom(monotonic, (times) =>
    logger.warn({ times, limit: limits.maxResets }, 'connections were ended that reset too many of their calls'),
  );

  /** A client that does not answer the end of its connection keeps none of it: its socket goes. */
  function closeIdle(): void {
    const busy = new Set([...states.values()].filter(({ calls }) => calls > 0).map(({ peer }) => peer));
    for (const [peer, socket] of sockets) if (!busy.has(peer)) socket.destroy();
  }

  return {
    callOpened(connection) {
      const state = connection && states.get(connection);
      if (state) state.calls += 1;
    },
    callClosed(connection, rstCode) {
      const state = connection && states.get(connection);
      if (!state) return;
      state.calls -= 1;
      if (rstCode !== constants.NGHTTP2_NO_ERROR && !connection.destroyed && !state.resets.spend()) {
        ended();
        end(connection, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      }
      if (stopping && state.calls === 0) setTimeout(closeIdle, idleGrace).unref();
    },
    closeIdle() {
      stopping = true;
      setTimeout(closeIdle, idleGrace).unref();
    },
    closeAll() {
      for (const session of [...states.keys()]) end(session, constants.NGHTTP2_CANCEL);
      // Also those that have not said that they speak HTTP/2, and those that do not take notice of their end.
      for (const socket of sockets.values()) socket.destroy();
    },
  };
}

/** Ends a connection with an error code of HTTP/2, which Node.js takes in the place of an error. */
function end(connection: Connection, code: number): void {
  if (!connection.destroyed) connection.destroy(code as unknown as Error);
}

function peerOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Calls `log` with how often it happened, at once and then at most at intervals. */
function seldom(monotonic: () => number, log: (times: number) => void): () => void {
  let times = 0;
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    times += 1;
    if (monotonic() - last < logInterval) return;
    last = monotonic();
    log(times);
    times = 0;
  };
}
