import { isIP } from 'node:net';
import { quote } from '../domain/errors.js';

/** Where a server listens. */
export type ListenAddress = {
  readonly host: string;
  readonly port: number;
  /** Whether only this machine can reach it. */
  readonly loopback: boolean;
};

/**
 * The host and port of a setting `host:port`.
 * @throws Error naming the setting if it is malformed
 */
export function listenAddress(listen: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) throw new Error(`listen ${quote(listen)} is not host:port`);
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  return { host, port, loopback };
}
