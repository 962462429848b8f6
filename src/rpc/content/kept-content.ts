import { create } from '@bufbuild/protobuf';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type BlobName, nameOf } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { findInTree } from '../../content/trees/find-in-tree.js';
import { MemoirError } from '../../domain/errors.js';
import type { KeptContent } from '../../jobs/ports/kept-content.js';

/** The blob of a digest, of a tree its root. @throws MemoirError INVALID_ARGUMENT BAD_DIGEST */
export const blobOf = ({ hash, sizeBytes }: Pick<Digest, 'hash' | 'sizeBytes'>): BlobName =>
  nameOf('digest', hash, sizeBytes);

/** What use cases ask of content. */
export function keptContent(
  content: Pick<ContentStore, 'missing' | 'get'>,
  elsewhere: KeptContent['elsewhere'],
): KeptContent {
  return {
    elsewhere,
    has: async (digest) => (await content.missing([blobOf(digest)])).length === 0,
    async at(tree, path) {
      try {
        const { node } = await findInTree(content, blobOf(tree), path);
        // A link was followed.
        if (node.kind === 'symlink') return undefined;
        const kind = node.kind === 'directory' ? ContentKind.TREE : ContentKind.BLOB;
        const { hash, size } = node.blob;
        return {
          digest: create(DigestSchema, { hash, sizeBytes: BigInt(size), kind }),
          executable: node.kind === 'file' && node.executable,
        };
      } catch (error) {
        if (error instanceof MemoirError && error.reason === 'PATH_NOT_FOUND') return undefined;
        throw error;
      }
    },
  };
}
