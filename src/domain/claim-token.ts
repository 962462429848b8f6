import { hash } from 'node:crypto';
import { invalid } from './errors.js';

/** Bounds of a claim token's length, in bytes. */
export const claimTokenBounds = [16, 64] as const;

/** A new claim token: 32 bytes, of two random UUIDs that `uuid` gives. */
export function makeClaimToken(uuid: () => string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(`${uuid()}${uuid()}`.replaceAll('-', ''), 'hex'));
}

/**
 * SHA-256 of a claim token, in 64 lower-case hexadecimal digits, by which the log knows it; undefined for no token, of no bytes.
 * @throws MemoirError INVALID_ARGUMENT if it is not 16 to 64 bytes long; the message does not tell the secret
 */
export function claimTokenDigest(token: Uint8Array): string | undefined {
  if (token.length === 0) return undefined;
  const [least, most] = claimTokenBounds;
  if (token.length < least || token.length > most) {
    throw invalid(
      'claim_token',
      'BAD_CLAIM_TOKEN',
      `claim_token has ${token.length} bytes, and must have ${least} to ${most}`,
    );
  }
  return hash('sha256', token);
}
