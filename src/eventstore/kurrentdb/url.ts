import { quote } from '../../domain/errors.js';
import { decoded, type Fail, type KurrentTls, parameterOf, tlsOf } from './url-parameters.js';

/** Where a node listens. */
export type Endpoint = { readonly host: string; readonly port: number };

/** Where a KurrentDB server or cluster is, and how to talk to it. */
export type KurrentUrl = {
  /** For the client: canonical, with credentials. Never to be logged, nor to be part of an error. */
  readonly connectionString: string;
  /**
   * The same without credentials, for a connection that is only read by, with `credentials` for each read: where there are several nodes
   * that half of the client asks for the leader with the escaped ones, which a server refuses, but answers who sends none.
   */
  readonly withoutUser: string;
  /** The credentials in it, for reads: that half of the client does not decode what is escaped. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** The nodes as host:port, for messages; without credentials. */
  readonly address: string;
  /** The nodes that are named, or the name of all of them. */
  readonly hosts: readonly Endpoint[];
  /** After how many idle milliseconds a connection is asked whether it is there, and how long it may take to answer; below 0: never. */
  readonly keepAlive: { readonly interval: number; readonly timeout: number };
  /** How calls are encrypted; not at all without it. Credentials are not sent then. */
  readonly tls?: KurrentTls;
};

/** Schemes of KurrentDB's connection strings; those of EventStoreDB mean the same. */
const schemes: ReadonlyMap<string, string> = new Map([
  ['kurrentdb', 'kurrentdb'],
  ['kurrentdb+discover', 'kurrentdb+discover'],
  ['esdb', 'kurrentdb'],
  ['esdb+discover', 'kurrentdb+discover'],
]);

/** Milliseconds between two attempts to find a node. */
const usualDiscoveryInterval = '100';

/** Milliseconds until a connection is asked whether it is there, and until it must have answered, as the client has it. */
const usualKeepAlive = 10_000;

/** Whether a text is meant to be a KurrentDB connection string. */
export function isKurrentUrl(text: string): boolean {
  return schemes.has(schemeOf(text));
}

/** The URL with whatever may be credentials left out, for messages about it. */
export function withoutCredentials(text: string): string {
  const start = text.indexOf('://');
  const end = text.lastIndexOf('@');
  return start < 0 || end < start ? text : `${text.slice(0, start + 3)}***${text.slice(end)}`;
}

/**
 * Reads a connection string such as `kurrentdb://user:password@node1:2113,node2:2113?tls=true&tlsCAFile=/etc/ca.pem`. It is read
 * here, strictly, and given to the client in a canonical form, because the client itself prints what it does not like, with the
 * credentials in it.
 * @throws Error naming what is wrong, without the credentials
 */
export function parseKurrentUrl(text: string): KurrentUrl {
  const fail = (why: string): never => {
    throw new Error(`the event store ${quote(withoutCredentials(text))} ${why}`);
  };
  const scheme = schemes.get(schemeOf(text));
  if (scheme === undefined) return fail('has no scheme of KurrentDB');
  const match = /^[^:]+:\/\/(?:([^@]*)@)?([^@?/]*)\/?(?:\?([^@]*))?$/.exec(text.trim());
  if (!match) return fail('is not scheme://user:password@host:port,host:port?parameter=value; escape an "@" as %40');
  const [, user, hostList = '', query = ''] = match;
  const credentials = user === undefined ? undefined : userOf(user, fail);
  const who = credentials
    ? `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@`
    : '';
  const hosts = hostList.split(',').map((host) => hostOf(host, fail));
  const given = query === '' ? [] : query.split('&').map((one) => parameterOf(one, fail));
  const names = given.map(([name]) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) fail(`has ${twice} twice`);
  const tls = tlsOf(new Map(given), fail);
  // The client waits so long even before its first attempt, by itself half a second.
  if (!names.includes('discoveryInterval')) given.push(['discoveryInterval', usualDiscoveryInterval]);
  const parameter = (name: string) => given.find(([one]) => one === name)?.[1];
  const address = hosts.map(({ host, port }) => `${host}:${port}`).join(',');
  const rest = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return {
    connectionString: `${scheme}://${who}${address}?${rest}`,
    withoutUser: `${scheme}://${address}?${rest}`,
    address,
    hosts,
    keepAlive: {
      interval: Number(parameter('keepAliveInterval') ?? usualKeepAlive),
      timeout: Number(parameter('keepAliveTimeout') ?? usualKeepAlive),
    },
    ...(tls && { tls }),
    ...(credentials && { credentials }),
  };
}

function schemeOf(text: string): string {
  return /^\s*([a-z+]+):\/\//.exec(text)?.[1] ?? '';
}

function userOf(user: string, fail: Fail): { username: string; password: string } {
  const parts = user.split(':');
  const [name, password] = parts;
  if (parts.length !== 2 || !name || !password) return fail('has credentials that are not user:password');
  return { username: decoded(name, 'user', fail), password: decoded(password, 'password', fail) };
}

function hostOf(text: string, fail: Fail): Endpoint {
  const match = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?$/.exec(text.trim());
  const port = Number(match?.[3] ?? 2113);
  const [, host] = match ?? [];
  if (host === undefined || port < 1 || port > 65_535) {
    return fail(`has ${quote(text)} where a host name, or host:port, should be`);
  }
  return { host, port };
}
