import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceDurably } from '../files/durable-file.js';
import type { BlobFiles } from './blob-files.js';
import type { Blob } from './content.js';

/** The blob by which a store is known: one that has it is not another one, and was not emptied. */
export function markerOf(id: string): Blob {
  const data = Buffer.from(`This is the content store ${id} of Memoir.\n`);
  return { name: { hash: createHash('sha256').update(data).digest('hex'), size: data.length }, data };
}

const pathOf = (directory: string) => join(directory, 'store');
const formerPath = (directory: string) => join(directory, 'former-stores');

/**
 * The id of the store in a directory, which stands in the file `store` there. One that has none yet, or was emptied while nobody had it open, is
 * another one from here on: it gets a new id, and its marker.
 */
export async function openStoreId(files: BlobFiles, directory: string): Promise<string> {
  const before = await idIn(directory);
  if (before !== undefined && files.has(markerOf(before).name)) return before;
  const id = randomUUID();
  const { name, data } = markerOf(id);
  // However full the disk is: it is the smallest of all.
  replaceDurably(files.pathOf(name), [data], { aside: files.aside(`marker-${id}`), mode: 0o400 });
  if (before !== undefined) {
    replaceDurably(formerPath(directory), [...(await formerIds(directory)), before].map((one) => `${one}\n`).join(''));
  }
  replaceDurably(pathOf(directory), `${id}\n`);
  return id;
}

/** Ids that the store in a directory had before it was emptied. */
export async function formerIds(directory: string): Promise<readonly string[]> {
  return (await textOf(formerPath(directory))).split('\n').filter(Boolean);
}

/** The id that stands there now; undefined if none does. */
export async function idIn(directory: string): Promise<string | undefined> {
  return /^([0-9a-f-]{36})\n$/.exec(await textOf(pathOf(directory)))?.[1];
}

/** What a file says; nothing if it is not there. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return '';
    throw error;
  });
}
