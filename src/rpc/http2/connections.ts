import { constants, type Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { windowOfUploads } from '../wire/windows.js';
import { holdingBack } from './holding.js';
import { watchLifetimes } from './lifetimes.js';
import { allowance, type RpcLimits } from './limits.js';
import type { Link } from './link.js';
import type { Connection } from './seam.js';
import { seldom } from './seldom.js';

/** How long a connection without calls may take to go after it was told that the server stops, in milliseconds. */
const idleGrace = 500;

/** Calls under way with which a client may close its connection without being thought to do so for more. */
const abandoned = 500;

/** The connections of a server. */
export type Connections = {
  /** Is told of each call. Gives the connection that it is of; undefined if that has gone. */
  callOpened(connection: Connection | undefined): Link | undefined;
  /** Is told when a call is over; one that ended by a reset counts against its connection. */
  callClosed(link: Link | undefined, rstCode: number): void;
  /** Is told of a call that was refused before anything was done for it, which counts too. */
  callRefused(link: Link | undefined): void;
  /** Closes what has no calls, soon, although its client may say nothing at all. */
  closeIdle(): void;
  /** Closes everything, whatever is under way. */
  closeAll(): void;
};

/**
 * Keeps a server's connections within their limits: no more than so many, none without end that is of no use, and none that goes on opening
 * calls to reset them, which costs a server more than its client (CVE-2023-44487). Calls that the server itself had to reset count too.
 */
export function watchConnections(
  servers: readonly Http2Server[],
  limits: RpcLimits,
  { monotonic, random }: { monotonic(): number; random(): number },
  logger: Logger,
): Connections {
  const links = new Map<Connection, Link>();
  // By the client's end, which a session knows too, with TLS or without.
  const sockets = new Map<string, Link>();
  const holding = holdingBack(monotonic);
  let stopping = false;

  for (const server of servers) {
    server.maxConnections = limits.maxConnections;
    server.updateSettings({
      maxConcurrentStreams: limits.maxStreams,
      maxHeaderListSize: limits.maxHeaderBytes,
      // Of one stream. All of a connection have those of the connection together, which are few until it uploads.
      initialWindowSize: windowOfUploads,
    });
    // Before Node.js makes a session of it, which it does at once without TLS.
    server.prependListener('connection', (socket: Socket) => {
      const now = monotonic();
      const link: Link = {
        socket,
        address: socket.remoteAddress ?? '',
        since: now,
        lastCall: now,
        session: undefined,
        calls: 0,
        turn: 0,
        begun: 0,
        waiting: [],
        resets: allowance(limits.maxResets, monotonic),
        refusals: allowance(limits.maxRefusals, monotonic),
      };
      const peer = peerOf(socket);
      sockets.set(peer, link);
      lifetimes.begin(link);
      socket.once('close', () => {
        if (link.calls > abandoned) holding.misbehaved(link.address);
        lifetimes.end(link);
        if (sockets.get(peer) === link) sockets.delete(peer);
      });
    });
    holding.guard(server);
    server.on('drop', () => dropped());
    server.on('session', (session: Connection) => {
      const link = sockets.get(peerOf(session.socket));
      if (!link) return;
      links.set(session, link);
      session.once('close', () => links.delete(session));
      // Whoever ended it: what HTTP/2 does not allow, or more than may be of something.
      session.once('error', ({ code }: NodeJS.ErrnoException) => {
        if (code?.startsWith('ERR_HTTP2')) holding.misbehaved(link.address);
      });
      // A client's settings are the first thing that it must send.
      session.once('remoteSettings', () => {
        link.session = session;
      });
    });
  }

  const lifetimes = watchLifetimes(limits, { monotonic, random }, logger);
  const dropped = seldom(monotonic, (times) =>
    logger.warn({ times, limit: limits.maxConnections }, 'connections were refused: there are as many as may be'),
  );
  const reset = seldom(monotonic, (times) =>
    logger.warn({ times, limit: limits.maxResets }, 'connections were ended that reset too many of their calls'),
  );
  const refused = seldom(monotonic, (times) =>
    logger.warn(
      { times, limit: limits.maxRefusals },
      'connections were ended that went on making calls which were refused',
    ),
  );

  /** A client that does not answer the end of its connection keeps none of it: its socket goes. */
  function closeIdle(): void {
    for (const { socket, calls } of sockets.values()) if (calls === 0) socket.destroy();
  }

  return {
    callOpened(connection) {
      const link = connection && links.get(connection);
      if (link) link.calls += 1;
      return link;
    },
    callClosed(link, rstCode) {
      if (!link) return;
      link.calls -= 1;
      if (link.calls === 0) link.lastCall = monotonic();
      const { session } = link;
      if (rstCode !== constants.NGHTTP2_NO_ERROR && session && !session.destroyed && !link.resets.spend()) {
        reset();
        end(session, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      }
      if (stopping && link.calls === 0) setTimeout(closeIdle, idleGrace).unref();
    },
    callRefused(link) {
      if (!link?.session || link.session.destroyed || link.refusals.spend()) return;
      refused();
      end(link.session, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    },
    closeIdle() {
      stopping = true;
      setTimeout(closeIdle, idleGrace).unref();
    },
    closeAll() {
      for (const session of [...links.keys()]) end(session, constants.NGHTTP2_CANCEL);
      // Also those that have not said that they speak HTTP/2, and those that do not take notice of their end.
      for (const { socket } of sockets.values()) socket.destroy();
      lifetimes.stop();
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
