import { existsSync } from 'node:fs';
import { quote } from '../../domain/errors.js';

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
};

/** Schemes of KurrentDB's connection strings; those of EventStoreDB mean the same. */
const schemes: ReadonlyMap<string, string> = new Map([
  ['kurrentdb', 'kurrentdb'],
  ['kurrentdb+discover', 'kurrentdb+discover'],
  ['esdb', 'kurrentdb'],
  ['esdb+discover', 'kurrentdb+discover'],
]);

const booleans = ['tls', 'tlsVerifyCert'];
// Not gossipTimeout: for one half of the client it is in seconds, for the other in milliseconds.
const integers = [
  'maxDiscoverAttempts',
  'discoveryInterval',
  'defaultDeadline',
  'keepAliveInterval',
  'keepAliveTimeout',
];
const files = ['tlsCAFile', 'userCertFile', 'userKeyFile'];
const parameters = [...booleans, ...integers, ...files, 'nodePreference', 'connectionName'];
/** Milliseconds between two attempts to find a node. */
const usualDiscoveryInterval = '100';

const preferences = ['leader', 'follower', 'random', 'readOnlyReplica'];

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
  if (names.includes('userCertFile') !== names.includes('userKeyFile')) {
    fail('needs userCertFile and userKeyFile together');
  }
  // The client waits so long even before its first attempt, by itself half a second.
  if (!names.includes('discoveryInterval')) given.push(['discoveryInterval', usualDiscoveryInterval]);
  const rest = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return {
    connectionString: `${scheme}://${who}${hosts.join(',')}?${rest}`,
    withoutUser: `${scheme}://${hosts.join(',')}?${rest}`,
    address: hosts.join(','),
    ...(credentials && { credentials }),
  };
}

type Fail = (why: string) => never;

function schemeOf(text: string): string {
  return /^\s*([a-z+]+):\/\//.exec(text)?.[1] ?? '';
}

function userOf(user: string, fail: Fail): { username: string; password: string } {
  const parts = user.split(':');
  const [name, password] = parts;
  if (parts.length !== 2 || !name || !password) return fail('has credentials that are not user:password');
  return { username: decoded(name, 'user', fail), password: decoded(password, 'password', fail) };
}

function hostOf(text: string, fail: Fail): string {
  const match = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?$/.exec(text.trim());
  const port = Number(match?.[3] ?? 2113);
  if (!match || port < 1 || port > 65_535) return fail(`has ${quote(text)} where a host name, or host:port, should be`);
  return `${match[1]}:${port}`;
}

function parameterOf(text: string, fail: Fail): [name: string, value: string] {
  const equals = text.indexOf('=');
  const given = equals < 0 ? text : text.slice(0, equals);
  const name = parameters.find((one) => one.toLowerCase() === given.toLowerCase());
  if (name === undefined) return fail(`has the unknown parameter ${quote(given)}; known are ${parameters.join(', ')}`);
  const value = decoded(text.slice(equals + 1), name, fail);
  if (equals < 0 || value === '') fail(`has ${name} without a value`);
  if (booleans.includes(name) && value !== 'true' && value !== 'false') {
    fail(`has ${name}=${quote(value)}, which is neither true nor false`);
  }
  if (integers.includes(name) && !/^(-1|\d{1,9})$/.test(value)) {
    fail(`has ${name}=${quote(value)}, which is not a whole number`);
  }
  if (name === 'nodePreference' && !preferences.some((one) => one.toLowerCase() === value.toLowerCase())) {
    fail(`has nodePreference=${quote(value)}; it must be one of ${preferences.join(', ')}`);
  }
  if (files.includes(name) && !existsSync(value)) fail(`has ${name}=${quote(value)}, and there is no such file`);
  return [name, value];
}

function decoded(text: string, what: string, fail: Fail): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`has a ${what} with a wrong %-escape`);
  }
}
