import { create } from '@bufbuild/protobuf';
import { type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { nameOf } from '../../content/blob-name.js';

/** A digest as it is recorded. @throws MemoirError INVALID_ARGUMENT BAD_DIGEST naming the field and the value */
export function checkedDigest(field: string, { hash, sizeBytes, kind }: Digest): Digest {
  nameOf(field, hash, sizeBytes);
  return create(DigestSchema, { hash, sizeBytes, kind });
}
