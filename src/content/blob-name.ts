import type { Digest } from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { invalid, quote } from '../domain/errors.js';

/** A blob by its content. */
export type BlobName = {
  /** SHA-256, in 64 lower-case hexadecimal digits. */
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
};

/** Of no bytes: it is everywhere, and kept nowhere. */
export const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Whether a text is a SHA-256 as names have it. */
export const isHash = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

/**
 * The name that a Digest of the Remote Execution API is.
 * @throws MemoirError INVALID_ARGUMENT BAD_DIGEST naming the field and the value
 */
export function blobName(field: string, digest: Pick<Digest, 'hash' | 'sizeBytes'> | undefined): BlobName {
  if (!digest) throw invalid(field, 'REQUIRED', `${field} is required`);
  return nameOf(field, digest.hash, digest.sizeBytes);
}

/** The same of its parts. @throws as `blobName` */
export function nameOf(field: string, hash: string, size: bigint): BlobName {
  if (!isHash(hash)) {
    throw invalid(
      field,
      'BAD_DIGEST',
      `${field}: hash ${quote(hash)} is not a SHA-256 in 64 lower-case hexadecimal digits`,
    );
  }
  if (size < 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalid(field, 'BAD_DIGEST', `${field}: a size of ${size} bytes is not between 0 and 2^53 - 1`);
  }
  if ((hash === emptyHash) !== (size === 0n)) {
    throw invalid(field, 'BAD_DIGEST', `${field}: hash ${hash} is not that of ${size} bytes`);
  }
  return { hash, size: Number(size) };
}

/** The name as the API's tools write it: `<hash>/<size>`. */
export const blobText = ({ hash, size }: BlobName): string => `${hash}/${size}`;
