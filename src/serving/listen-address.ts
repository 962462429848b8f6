import { isIP } from 'node:net';
import { quote } from '../domain/errors.js';

/**
 * The host and port of a setting `host:port`. Callers are not authenticated yet and name themselves, so nobody but this machine may
 * reach the server.
 * @throws Error naming the setting if it is malformed or no loopback address
 */
export function listenAddress(listen: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) throw new Error(`listen ${quote(listen)} is not host:port`);
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (!loopback) {
    throw new Error(
      `listen ${quote(listen)} is not a loopback address: callers are not authenticated yet, so only this machine may reach the server`,
    );
  }
  return { host, port };
}
