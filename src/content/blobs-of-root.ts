import { hash as digestOf } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { MemoirError } from '../domain/errors.js';
import { type BlobFiles, notFound } from './blob-files.js';
import type { BlobName } from './blob-name.js';
import { type TreeEntry, walkTree } from './trees/walk-tree.js';

/** Something that trees and blobs hang from. */
export type Root = { readonly name: BlobName; readonly isTree: boolean };

/** What hangs from roots, read without marking anything as asked for. What is missing of a root has nothing below. */
export type RootReader = {
  /** Its blobs, the root first; one that stands there more than once may be told as often. */
  blobsOf(root: Root): AsyncGenerator<BlobName>;
  /** The entries of a tree, which hangs at a path of a root if that is given: there its links may lead out of it. */
  entriesOf(tree: BlobName, at?: string): AsyncGenerator<readonly TreeEntry[]>;
};

/** Makes it. */
export function rootReader(files: Pick<BlobFiles, 'pathOf'>): RootReader {
  async function get(names: readonly BlobName[]): Promise<readonly (Uint8Array | MemoirError)[]> {
    return Promise.all(
      names.map(async (name) => {
        const data = await readFile(files.pathOf(name)).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined;
          throw error;
        });
        return data && digestOf('sha256', data) === name.hash ? data : notFound(name);
      }),
    );
  }

  const entriesOf = (tree: BlobName, at = '') => walkTree({ get }, tree, { at, onMissing: () => undefined });
  return {
    entriesOf,
    async *blobsOf({ name, isTree }) {
      yield name;
      if (!isTree) return;
      for await (const entries of entriesOf(name)) {
        for (const { node } of entries) if (node.kind !== 'symlink') yield node.blob;
      }
    },
  };
}

/** A hash in half of the memory. */
export const packed = (hash: string): string => Buffer.from(hash, 'hex').toString('latin1');
