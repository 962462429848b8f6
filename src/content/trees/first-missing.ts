import { MemoirError } from '../../domain/errors.js';
import type { BlobName } from '../blob-name.js';
import type { ContentStore } from '../content.js';
import { checkTree } from './check-tree.js';
import { walkTree } from './walk-tree.js';

/** A blob of a tree that is not there, and the first path by which the tree has it; empty for its root. */
export type MissingOfTree = { readonly blob: BlobName; readonly path: string };

/** The first blob of a tree that is not there; undefined if all of it is, which holds it. @throws MemoirError as `checkTree` */
export async function firstMissing(
  content: Pick<ContentStore, 'get' | 'missing'>,
  root: BlobName,
): Promise<MissingOfTree | undefined> {
  const { missing } = await checkTree(content, root);
  const [first] = missing;
  if (!first) return undefined;
  if (missing.some(({ hash }) => hash === root.hash)) return { blob: root, path: '' };
  const hashes = new Set(missing.map(({ hash }) => hash));
  for await (const entries of walkTree(content, root, { onMissing: () => undefined })) {
    for (const { path, node } of entries) {
      if (node.kind !== 'symlink' && hashes.has(node.blob.hash)) return { blob: node.blob, path };
    }
  }
  return { blob: first, path: '' };
}

/** Whether an error says that the bytes of a blob were not its own, so that it counts as missing from then on. */
export function isCorrupt(error: unknown): boolean {
  return error instanceof MemoirError && error.reason === 'BLOB_CORRUPT';
}
