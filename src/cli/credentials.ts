import { readFileSync, statSync } from 'node:fs';
import { invalid, messageOf, quote } from '../domain/errors.js';
import type { Security } from '../rpc/client.js';
import type { ServerOptions } from './options.js';

/** How long a token is taken from its file before the file is looked at again, in milliseconds. */
const lookAgain = 1_000;

/** Most bytes of a file of a token. */
const mostBytes = 64 * 1024;

/**
 * The token by the options and the environment; undefined if neither has one. That of a file is read again when the file changes.
 * @throws MemoirError INVALID_ARGUMENT naming the file, never what it holds
 */
export function tokenOf(
  { tokenFile }: ServerOptions,
  { MEMOIR_TOKEN: token }: Readonly<Record<string, string | undefined>>,
): (() => string) | undefined {
  if (tokenFile === undefined) {
    if (token === undefined || token === '') return undefined;
    const checked = checkedToken(token, 'MEMOIR_TOKEN');
    return () => checked;
  }
  let text = readToken(tokenFile);
  let looked = performance.now();
  return () => {
    if (performance.now() - looked < lookAgain) return text;
    looked = performance.now();
    try {
      text = readToken(tokenFile);
    } catch {
      // It is being replaced; the server says so if the one before is over.
    }
    return text;
  };
}

function readToken(path: string): string {
  const from = `--token-file (MEMOIR_TOKEN_FILE) ${quote(path)}`;
  let text: string;
  try {
    if (statSync(path).size > mostBytes) throw new Error(`it has more than ${mostBytes} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw invalid('token_file', 'BAD_TOKEN', `${from} cannot be read: ${messageOf(error)}`);
  }
  return checkedToken(text.trim(), from);
}

/** A token, less what is around it. @throws MemoirError BAD_TOKEN naming where it is from, never what it is */
export function checkedToken(text: string, from: string): string {
  if (/^[A-Za-z0-9._~+/-]+=*$/.test(text)) return text;
  throw invalid(
    'token',
    'BAD_TOKEN',
    `${from} holds no token: give one line of letters, digits and ".", "_", "~", "+", "/", "-"`,
  );
}

/**
 * What the options give for TLS; undefined if nothing.
 * @throws MemoirError INVALID_ARGUMENT naming a file that cannot be read, or options that do not go together
 */
export function tlsFilesOf(
  { tlsCa, tlsCert, tlsKey }: ServerOptions,
  server: string,
  tls: boolean | undefined,
): Exclude<Security['tls'], boolean | undefined> | undefined {
  if (tlsCa === undefined && tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tls === false) {
    throw invalid(
      'server',
      'BAD_OPTIONS',
      `${quote(server)} is without TLS, and files for TLS are given: say grpcs://`,
    );
  }
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw invalid('tls_cert', 'BAD_OPTIONS', 'give --tls-cert and --tls-key both, or neither');
  }
  return {
    ...(tlsCa !== undefined && { ca: readPem('--tls-ca', tlsCa) }),
    ...(tlsCert !== undefined && { cert: readPem('--tls-cert', tlsCert) }),
    ...(tlsKey !== undefined && { key: readPem('--tls-key', tlsKey) }),
  };
}

/** The bytes of a file that an option names. @throws MemoirError BAD_OPTIONS, or as it is, naming both */
export function readPem(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw invalid('tls', 'BAD_CERTIFICATE', `${option} ${quote(path)} cannot be read: ${messageOf(error)}`);
  }
}
