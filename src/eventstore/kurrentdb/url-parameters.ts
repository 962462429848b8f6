import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { quote } from '../../domain/errors.js';

/** Ends the reading of a connection string with an error that says why. */
export type Fail = (why: string) => never;

/** How the nodes prove who they are, and the user. */
export type KurrentTls = {
  /** Whether the certificates of nodes are checked. */
  readonly verify: boolean;
  /** PEM: the authorities of the nodes' certificates. Without it, those that Node.js knows. */
  readonly ca?: Buffer;
  /** PEM: a certificate of the user, and its key. */
  readonly certificate?: Buffer;
  readonly key?: Buffer;
};

const booleans = ['tls', 'tlsVerifyCert'];
// Not gossipTimeout: for one half of the client it is in seconds, for the other in milliseconds.
/** The least value, and whether -1 is one too, which means never. What is below, a half of the client refuses or prints a warning of. */
const integers: Readonly<Record<string, { readonly least: number; readonly never?: true }>> = {
  maxDiscoverAttempts: { least: 1 },
  discoveryInterval: { least: 0 },
  defaultDeadline: { least: 1 },
  keepAliveInterval: { least: 10_000, never: true },
  keepAliveTimeout: { least: 0, never: true },
};
const files = ['tlsCAFile', 'userCertFile', 'userKeyFile'];
const parameters = [...booleans, ...Object.keys(integers), ...files, 'nodePreference', 'connectionName'];

const preferences = ['leader', 'follower', 'random', 'readOnlyReplica'];

/** A parameter by the name that the client knows it by, and its value as it is meant. */
export function parameterOf(text: string, fail: Fail): [name: string, value: string] {
  const equals = text.indexOf('=');
  const given = equals < 0 ? text : text.slice(0, equals);
  const name = parameters.find((one) => one.toLowerCase() === given.toLowerCase());
  if (name === undefined) return fail(`has the unknown parameter ${quote(given)}; known are ${parameters.join(', ')}`);
  const value = decoded(text.slice(equals + 1), name, fail);
  if (equals < 0 || value === '') fail(`has ${name} without a value`);
  if (booleans.includes(name) && value !== 'true' && value !== 'false') {
    fail(`has ${name}=${quote(value)}, which is neither true nor false`);
  }
  const range = integers[name];
  if (range) {
    if (!/^(-1|\d{1,9})$/.test(value)) fail(`has ${name}=${quote(value)}, which is not a whole number`);
    const never = range.never && Number(value) === -1;
    if (!never && Number(value) < range.least) {
      fail(`has ${name}=${value}; it must be ${range.least} or more${range.never ? ', or -1 for never' : ''}`);
    }
  }
  if (name === 'nodePreference' && !preferences.some((one) => one.toLowerCase() === value.toLowerCase())) {
    fail(`has nodePreference=${quote(value)}; it must be one of ${preferences.join(', ')}`);
  }
  // It goes into a header; the half of the client that reads dies of what cannot.
  if (name === 'connectionName' && !/^[\x20-\x7e]+$/.test(value)) {
    fail(`has connectionName=${quote(value)}; it must be of printable ASCII characters`);
  }
  return [name, value];
}

/**
 * What the parameters say of TLS; undefined for none. The files are read and looked into here: what the client makes of a wrong one is that
 * no node can be reached.
 */
export function tlsOf(given: ReadonlyMap<string, string>, fail: Fail): KurrentTls | undefined {
  if (given.has('userCertFile') !== given.has('userKeyFile')) fail('needs userCertFile and userKeyFile together');
  const read = (name: string, what: string, check: (pem: Buffer) => void): Buffer | undefined => {
    const path = given.get(name);
    if (path === undefined) return undefined;
    const pem = contentOf(path, name, fail);
    try {
      check(pem);
    } catch {
      fail(`has ${name}=${quote(path)}, which holds no ${what} in PEM`);
    }
    return pem;
  };
  const ca = read('tlsCAFile', 'certificate', checkCertificates);
  const certificate = read('userCertFile', 'certificate', checkCertificates);
  const key = read('userKeyFile', 'private key', (pem) => createPrivateKey(pem));
  if (given.get('tls') === 'false') return undefined;
  return {
    verify: given.get('tlsVerifyCert') !== 'false',
    ...(ca && { ca }),
    ...(certificate && { certificate }),
    ...(key && { key }),
  };
}

function contentOf(path: string, name: string, fail: Fail): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return fail(`has ${name}=${quote(path)}, and there is no such file`);
    return fail(`has ${name}=${quote(path)}, which cannot be read: ${code}`);
  }
}

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function checkCertificates(pem: Buffer): void {
  const found = pem.toString('latin1').match(pemCertificate) ?? [];
  if (found.length === 0) throw new Error('none');
  for (const one of found) new X509Certificate(one);
}

/** What is escaped as %XX, as it is meant. */
export function decoded(text: string, what: string, fail: Fail): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(`has a ${what} with a wrong %-escape`);
  }
}
