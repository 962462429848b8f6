import { MemoirError } from '../domain/errors.js';
import { type BlobFiles, corrupt } from './blob-files.js';
import type { BlobName } from './blob-name.js';

/** Files that are read at once. */
const atOnce = 16;

/** All of small blobs, each by itself or why it cannot be had. One whose bytes are not its own is put aside. */
export async function getBlobs(
  files: BlobFiles,
  names: readonly BlobName[],
): Promise<readonly (Uint8Array | MemoirError)[]> {
  const found: (Uint8Array | MemoirError)[] = [];
  const left = names.entries();
  await Promise.all(
    Array.from({ length: Math.min(atOnce, names.length) }, async () => {
      for (const [i, name] of left) found[i] = await get(files, name);
    }),
  );
  return found;
}

async function get(files: BlobFiles, name: BlobName): Promise<Uint8Array | MemoirError> {
  if (name.size === 0) return new Uint8Array();
  try {
    const data = await files.get(name);
    if (data) return data;
    await files.quarantine(name);
    return corrupt(name);
  } catch (error) {
    if (error instanceof MemoirError) return error;
    throw error;
  }
}
