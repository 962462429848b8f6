import type { IncomingHttpHeaders } from 'node:http2';
import { isPrincipal } from '../../domain/callers/principal.js';
import { invalid, type MemoirError, quote } from '../../domain/errors.js';

/** Milliseconds of the units of grpc-timeout. */
const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** Longest deadline that grpc-js can count: it keeps milliseconds in 31 bits. */
const longestTimeout = 2 ** 31 - 1;
const cappedTimeout = '2147483S';

/**
 * Reads the headers of a call that grpc-js would misread, and mends those that can be mended. A deadline of 24.9 days or more would
 * be one that has passed, since grpc-js folds its milliseconds into 32 bits; it becomes one of 24.8 days, which a call does not
 * reach. A principal that is not ASCII would be left out, and the caller be nobody.
 * @returns what the call is to be refused with; undefined if it is not
 */
export function checkCallHeaders(headers: IncomingHttpHeaders): MemoirError | undefined {
  const timeout = headers['grpc-timeout'];
  if (timeout !== undefined) {
    const [, digits, unit = ''] = /^([0-9]{1,8})([HMSmun])$/.exec(String(timeout)) ?? [];
    if (digits === undefined) {
      const message = `metadata grpc-timeout ${quote(String(timeout))} is not 1 to 8 digits and one of H, M, S, m, u and n`;
      return invalid('grpc-timeout', 'BAD_TIMEOUT', message);
    }
    if (Number(digits) * (units[unit] as number) > longestTimeout) headers['grpc-timeout'] = cappedTimeout;
  }
  const principal = headers['memoir-principal'];
  return principal === undefined ? undefined : badPrincipal(String(principal));
}

/** Why a text is no principal; undefined if it is one. */
export function badPrincipal(text: string): MemoirError | undefined {
  if (isPrincipal(text)) return undefined;
  // Java sends a question mark for every character that is not ASCII, which would make one of all who write their name so.
  return invalid(
    'memoir-principal',
    'BAD_PRINCIPAL',
    `metadata memoir-principal ${quote(text)} is not 1 to 256 printable ASCII characters without spaces, others than "?" among them`,
  );
}
