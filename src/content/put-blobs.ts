import { hash, randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { MemoirError } from '../domain/errors.js';
import { type BlobFiles, mismatch } from './blob-files.js';
import { type BlobName, emptyHash } from './blob-name.js';
import type { Blob } from './content.js';

/** Files that are written at once. */
const atOnce = 16;

/**
 * Keeps small blobs as one unit: each is written and synced aside, then all are given their names, then the folders are synced. What is
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
  if (!blind) for (const [key, { name }] of wanted) if (await files.has(name)) wanted.delete(key);
  if (wanted.size === 0) return errors;
  let bytes = 0;
  for (const { name } of wanted.values()) bytes += name.size;
  await files.checkRoom(bytes);

  const written: (readonly [aside: string, name: BlobName])[] = [];
  try {
    const left = wanted.values();
    await Promise.all(
      Array.from({ length: Math.min(atOnce, wanted.size) }, async () => {
        for (const { name, data } of left) {
          const aside = files.aside(randomUUID());
          written.push([aside, name]);
          await writeSynced(aside, data);
        }
      }),
    );
    for (const [aside, name] of written) await files.place(aside, name);
    await files.syncFolders(wanted.keys());
  } finally {
    // Those that have their names are no longer there.
    await Promise.all(written.map(([aside]) => rm(aside, { force: true })));
  }
  return errors;
}

function wrong({ name, data }: Blob): MemoirError | undefined {
  if (data.length !== name.size) return mismatch(name, { size: data.length });
  const found = hash('sha256', data);
  return found === name.hash ? undefined : mismatch(name, { hash: found, size: data.length });
}

async function writeSynced(path: string, data: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o400);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}
