import type { Metadata } from '@grpc/grpc-js';
import { claimTokenDigest } from '../domain/claim-token.js';
import { invalid } from '../domain/errors.js';
import { isUuid } from '../domain/streams.js';

/** Name of the metadata by which a call for content speaks for an attempt: "<uuid of the job>/<claim token in hexadecimal digits>". */
export const claimHeader = 'memoir-claim';

/** An attempt as a call names it. */
export type AttemptClaim = {
  /** Uuid of the job. */
  readonly uuid: string;
  /** SHA-256 of the claim token, in hexadecimal digits. */
  readonly tokenDigest: string;
};

/** The metadata as a client sends it. */
export const claimText = (uuid: string, claimToken: Uint8Array): string =>
  `${uuid}/${Buffer.from(claimToken).toString('hex')}`;

/**
 * The attempt that the metadata of a call names; undefined if they name none.
 * @throws MemoirError INVALID_ARGUMENT BAD_CLAIM; the message does not tell the secret
 */
export function claimOf(metadata: Metadata): AttemptClaim | undefined {
  const [given] = metadata.get(claimHeader);
  if (given === undefined) return undefined;
  const [, uuid = '', token = ''] = /^([0-9a-f-]{36})\/((?:[0-9a-f]{2}){16,64})$/.exec(String(given)) ?? [];
  if (!isUuid(uuid)) {
    const form = '"<uuid of the job>/<claim token of 16 to 64 bytes, in hexadecimal digits>"';
    throw invalid(claimHeader, 'BAD_CLAIM', `the metadata ${claimHeader} is not ${form}`);
  }
  return { uuid, tokenDigest: claimTokenDigest(Buffer.from(token, 'hex')) as string };
}
