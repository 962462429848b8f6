import { LRUCache } from 'lru-cache';
import type { MemoirError } from '../../domain/errors.js';
import { type BlobName, blobText } from '../blob-name.js';
import type { ContentStore } from '../content.js';
import type { Node } from './check-directory.js';
import { badTree, largestDirectory } from './tree-limits.js';

/** What lies in directories that were read lately, by their hash. */
export type KnownDirectories = LRUCache<string, readonly Node[]>;

/** Remembers directories with so many entries together. */
export function knownDirectories(entries = 50_000): KnownDirectories {
  return new LRUCache({ maxSize: entries, sizeCalculation: (nodes) => nodes.length + 1 });
}

/** The bytes of one directory, or why they cannot be had. @throws MemoirError BAD_TREE if it is larger than one may be; what `content` throws */
export async function readDirectory(
  content: Pick<ContentStore, 'get'>,
  blob: BlobName,
): Promise<Uint8Array | MemoirError> {
  if (blob.size > largestDirectory) throw badTree(`blob ${blobText(blob)} is larger than any directory of a tree`);
  const [data] = await content.get([blob]);
  return data as Uint8Array | MemoirError;
}
