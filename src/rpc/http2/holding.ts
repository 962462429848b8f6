import type { Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import { networkOf } from '../limits/limiter.js';
import { type Allowance, allowance } from './limits.js';

/** Misbehaved connections that an address may have in ten seconds before new ones of it are held. */
const forgiven = 3;

/** How long new connections are held after one more, in milliseconds, and how far apart they go on. */
const held = 1_000;
const apart = 20;

/** Most connections of one address that are held; more are closed. */
const mostHeld = 500;

/** Most addresses that are remembered. */
const mostRemembered = 10_000;

type Record = { readonly allowance: Allowance; until: number; waiting: number };

/** Holds back connections from where others misbehaved. */
export type Holding = {
  /** Is told that a connection from an address misbehaved. */
  misbehaved(address: string): void;
  /** Has a server begin connections when they are not held. To be called before the first one can be there. */
  guard(server: Http2Server): void;
};

/**
 * Has new connections from an address wait a second, nothing of them being read, after several from there had to be ended. Whoever is cut off and connects again at once
 * would else have a fresh share of what one connection may do, each time. Others from the same address wait too, and are then served: a worker behind the same
 * proxy takes a second longer to connect, which costs it no lease.
 */
export function holdingBack(monotonic: () => number): Holding {
  const records = new LRUCache<string, Record>({ max: mostRemembered });

  function hold(record: Record, socket: Socket, begin: () => void): void {
    if (record.waiting >= mostHeld) {
      socket.destroy();
      return;
    }
    record.waiting += 1;
    const ignore = () => {};
    socket.on('error', ignore);
    const pause = Math.max(0, record.until - monotonic()) + record.waiting * apart;
    setTimeout(() => {
      record.waiting -= 1;
      socket.off('error', ignore);
      if (!socket.destroyed) begin();
    }, pause).unref();
  }

  return {
    misbehaved(address) {
      const name = networkOf(address);
      const record = records.get(name) ?? { allowance: allowance(forgiven, monotonic), until: 0, waiting: 0 };
      records.set(name, record);
      if (!record.allowance.spend()) record.until = monotonic() + held;
    },
    guard(server) {
      const listeners = server.listeners('connection') as ((socket: Socket) => void)[];
      server.removeAllListeners('connection');
      server.on('connection', (socket: Socket) => {
        const begin = () => {
          for (const listener of listeners) listener.call(server, socket);
        };
        const record = records.size === 0 ? undefined : records.get(networkOf(socket.remoteAddress ?? ''));
        if (record && (record.waiting > 0 || monotonic() < record.until)) hold(record, socket, begin);
        else begin();
      });
    },
  };
}
