import { create } from '@bufbuild/protobuf';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';

/** The address of content that servers keep. */
export const addressOf = ({ hash }: Pick<Digest, 'hash'>): string => `sha256:${hash}`;

/** The hash in an address; undefined in any other text. */
export const hashOfAddress = (address: string): string | undefined => /^sha256:([0-9a-f]{64})$/.exec(address)?.[1];

/** The digest of which an address and a size in bytes are kept; undefined without a size, as for what is kept elsewhere, or was not read. */
function keptDigest(address: string, size: number | null | undefined, kind: ContentKind): Digest | undefined {
  const hash = hashOfAddress(address);
  if (hash === undefined || typeof size !== 'number') return undefined;
  return create(DigestSchema, { hash, sizeBytes: BigInt(size), kind });
}

/** The digests of an output and a log, as the fields of a message, from their addresses and sizes. */
export function keptDigests(row: {
  readonly output: string;
  readonly output_size?: number | null;
  readonly log: string;
  readonly log_size?: number | null;
}): { readonly outputDigest?: Digest; readonly logDigest?: Digest } {
  const outputDigest = keptDigest(row.output, row.output_size, ContentKind.TREE);
  const logDigest = keptDigest(row.log, row.log_size, ContentKind.BLOB);
  return { ...(outputDigest && { outputDigest }), ...(logDigest && { logDigest }) };
}

/** The size by which a digest is kept beside its address; null for none. */
export const keptSize = (digest: Digest | undefined): number | null => (digest ? Number(digest.sizeBytes) : null);
