import type { BlobName } from '../blob-name.js';
import type { ContentStore } from '../content.js';
import { manifestHash } from './manifest-hash.js';
import type { TreeLimits } from './tree-limits.js';
import { walkTree } from './walk-tree.js';

/** What a look through a whole tree found. */
export type CheckedTree = {
  /** The first blobs that are not there, and how many more there may be at least. */
  readonly missing: readonly BlobName[];
  readonly missingCount: number;
  readonly entries: number;
  /** Bytes of all files. */
  readonly bytes: number;
  /** The address of the same files as a manifest; of no meaning where something is missing. */
  readonly manifest: string;
};

/** Blobs that are asked for at once. */
const asked = 5_000;

/** Most blobs that are named as missing. */
const named = 10;

/**
 * Looks whether all of a tree is there, down to its last file, which holds all of it.
 * @throws MemoirError as `walkTree`, but not for what is missing
 */
export async function checkTree(
  content: Pick<ContentStore, 'get' | 'missing'>,
  root: BlobName,
  limits?: TreeLimits,
): Promise<CheckedTree> {
  const missing = new Map<string, BlobName>();
  let missingCount = 0;
  let entries = 0;
  let bytes = 0;
  const manifest = manifestHash();
  let open = new Map<string, BlobName>();

  function lacks(blob: BlobName): void {
    missingCount++;
    if (missing.size < named) missing.set(blob.hash, blob);
  }
  async function ask(): Promise<void> {
    for (const blob of await content.missing([...open.values()])) lacks(blob);
    open = new Map();
  }

  for await (const batch of walkTree(content, root, { onMissing: lacks, ...(limits && { limits }) })) {
    for (const entry of batch) {
      entries++;
      manifest.add(entry);
      if (entry.node.kind !== 'file') continue;
      const { blob } = entry.node;
      bytes += blob.size;
      open.set(`${blob.hash}/${blob.size}`, blob);
    }
    if (open.size >= asked) await ask();
  }
  if (open.size > 0) await ask();
  return { missing: [...missing.values()], missingCount, entries, bytes, manifest: manifest.address() };
}
