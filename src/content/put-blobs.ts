import { hash } from 'node:crypto';
import type { MemoirError } from '../domain/errors.js';
import { sliced } from '../threads/in-turns.js';
import { type BlobFiles, mismatch } from './blob-files.js';
import { emptyHash } from './blob-name.js';
import type { Blob } from './content.js';

/**
 * Keeps small blobs as one unit: they are written into a journal that is synced, and then made files of their own. What is
 * there already is not written again, unless `blind` says so.
 * @returns for each undefined, or why it was not kept
 */
export async function putBlobs(
  files: BlobFiles,
  blobs: readonly Blob[],
  blind = false,
): Promise<readonly (MemoirError | undefined)[]> {
  const errors = blobs.map(wrong);
  const wanted = new Map<string, Blob>();
  for (const [i, blob] of blobs.entries())
    if (!errors[i] && blob.name.hash !== emptyHash) wanted.set(blob.name.hash, blob);
  if (!blind) for (const [key, { name }] of wanted) if (files.has(name)) wanted.delete(key);
  if (wanted.size === 0) return errors;
  let bytes = 0;
  for (const { name } of wanted.values()) bytes += name.size;
  await files.checkRoom(bytes);

  const turns = sliced();
  const made = await files.batches.keep([...wanted.values()]);
  try {
    for (const blob of wanted.values()) {
      files.replace(blob);
      const others = turns();
      if (others) await others;
    }
  } finally {
    made();
  }
  return errors;
}

function wrong({ name, data }: Blob): MemoirError | undefined {
  if (data.length !== name.size) return mismatch(name, { size: data.length });
  const found = hash('sha256', data);
  return found === name.hash ? undefined : mismatch(name, { hash: found, size: data.length });
}
