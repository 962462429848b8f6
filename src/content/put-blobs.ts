import { hash, randomUUID } from 'node:crypto';
import { closeSync, fsync, openSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { MemoirError } from '../domain/errors.js';
import { sliced } from '../threads/in-turns.js';
import { type BlobFiles, mismatch } from './blob-files.js';
import { type BlobName, emptyHash } from './blob-name.js';
import type { Blob } from './content.js';

/** Files that are open at once. */
const atOnce = 128;

const synced = promisify(fsync);

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
  if (!blind) for (const [key, { name }] of wanted) if (files.has(name)) wanted.delete(key);
  if (wanted.size === 0) return errors;
  let bytes = 0;
  for (const { name } of wanted.values()) bytes += name.size;
  await files.checkRoom(bytes);

  const written = new Map<string, BlobName>();
  const turns = sliced();
  try {
    const left = [...wanted.values()];
    for (let at = 0; at < left.length; at += atOnce) {
      const opened: number[] = [];
      try {
        for (const { name, data } of left.slice(at, at + atOnce)) {
          const aside = files.aside(randomUUID());
          const file = openSync(aside, 'wx', 0o400);
          opened.push(file);
          written.set(aside, name);
          writeFileSync(file, data);
          const others = turns();
          if (others) await others;
        }
        // All at once, so that the disk does for several what it would do for each.
        const ends = await Promise.allSettled(opened.map((file) => synced(file)));
        for (const end of ends) if (end.status === 'rejected') throw end.reason;
      } finally {
        for (const file of opened) closeSync(file);
      }
    }
    for (const [aside, name] of written) {
      files.place(aside, name);
      written.delete(aside);
      const others = turns();
      if (others) await others;
    }
    await files.syncFolders(wanted.keys());
  } finally {
    await Promise.all(Array.from(written.keys(), (aside) => rm(aside, { force: true })));
  }
  return errors;
}

function wrong({ name, data }: Blob): MemoirError | undefined {
  if (data.length !== name.size) return mismatch(name, { size: data.length });
  const found = hash('sha256', data);
  return found === name.hash ? undefined : mismatch(name, { hash: found, size: data.length });
}
