import { create } from '@bufbuild/protobuf';
import { PutContentResponseSchema } from '../../../gen/memoir/content/v1/content_service_pb.js';
import { ContentKind, type Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { checkTree } from '../../content/trees/check-tree.js';
import { invalid } from '../../domain/errors.js';
import { addressOf } from '../../domain/outputs/digest.js';
import { recordStored, storeIdOf } from '../../jobs/content/record-content.js';
import type { JobsContext } from '../../jobs/context.js';
import type { CallContext } from '../call.js';
import { checkedDigest } from './checked-digest.js';
import { blobOf } from './kept-content.js';
import type { RawAccess } from './raw-access.js';
import { incomplete, notTaken } from './taken-result.js';

/**
 * Has content kept that the caller uploaded, once all of it is there.
 * @throws MemoirError INVALID_ARGUMENT naming the digest, or what is wrong with the tree; FAILED_PRECONDITION CONTENT_INCOMPLETE,
 * CONTENT_NOT_TAKEN; PERMISSION_DENIED
 */
export async function putContent(context: JobsContext, raw: RawAccess, given: Digest | undefined, call: CallContext) {
  if (!given) throw invalid('digest', 'REQUIRED', 'digest is required');
  const digest = checkedDigest('digest', given);
  if (digest.kind !== ContentKind.BLOB && digest.kind !== ContentKind.TREE) {
    throw invalid('digest.kind', 'BAD_DIGEST', 'digest.kind must be CONTENT_KIND_BLOB or CONTENT_KIND_TREE');
  }
  if (!context.sharesRuns) throw notTaken();
  const { content } = raw.own(call);
  const blob = blobOf(digest);
  const found =
    digest.kind === ContentKind.TREE
      ? await checkTree(content, blob)
      : { missing: await content.missing([blob]), bytes: blob.size, manifest: '' };
  if (found.missing.length > 0) throw incomplete(found.missing);
  const storeId = storeIdOf(await content.identity());
  const what = { totalBytes: found.bytes, outputV1: found.manifest, storeId };
  await recordStored(context, call.caller, { digest, job: '', attempt: 0, ...what });
  return create(PutContentResponseSchema, { address: addressOf(digest) });
}
