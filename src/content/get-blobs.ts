import { MemoirError } from '../domain/errors.js';
import { sliced } from '../threads/in-turns.js';
import { type BlobFiles, corrupt } from './blob-files.js';
import type { BlobName } from './blob-name.js';

/** Files that are read at once where the disk is waited for. */
const atOnce = 16;

/** How long a file takes at most that is in memory, in milliseconds: to open, read and close it is 20 µs then, and four times as much by way of other threads. */
const quick = 1;

/** Most bytes of the memory that several blobs are read into. */
const mostTogether = 1024 * 1024;

/**
 * All of small blobs, each by itself or why it cannot be had. One whose bytes are not its own is put aside. They are read one after the other as long as that is quick, since they
 * are in memory; after one that was not come several at once.
 */
export async function getBlobs(
  files: BlobFiles,
  names: readonly BlobName[],
): Promise<readonly (Uint8Array | MemoirError)[]> {
  const found: (Uint8Array | MemoirError)[] = [];
  const memoryFor = together(names);
  const turns = sliced();
  while (found.length < names.length) {
    const name = names[found.length] as BlobName;
    const begun = performance.now();
    found.push(await told(files, name, () => files.getNow(name, memoryFor(name.size))));
    if (performance.now() - begun > quick) {
      const next = names.slice(found.length, found.length + atOnce);
      found.push(
        ...(await Promise.all(next.map((one) => told(files, one, () => files.get(one, memoryFor(one.size)))))),
      );
    }
    const others = turns();
    if (others) await others;
  }
  return found;
}

/** Memory for blobs one after the other, many of which lie in one: each by itself costs more to hand over than its bytes. */
function together(names: readonly BlobName[]): (size: number) => Uint8Array<ArrayBuffer> {
  let left = names.reduce((bytes, { size }) => bytes + size, 0);
  let memory = new Uint8Array();
  return (size) => {
    if (memory.length < size)
      memory = new Uint8Array(Buffer.allocUnsafeSlow(Math.max(size, Math.min(left, mostTogether))).buffer);
    const part = memory.subarray(0, size);
    memory = memory.subarray(size);
    left -= size;
    return part;
  };
}

async function told(
  files: BlobFiles,
  name: BlobName,
  read: () => Uint8Array | undefined | Promise<Uint8Array | undefined>,
): Promise<Uint8Array | MemoirError> {
  if (name.size === 0) return new Uint8Array();
  try {
    const data = await read();
    if (data) return data;
    await files.quarantine(name);
    return corrupt(name);
  } catch (error) {
    if (error instanceof MemoirError) return error;
    throw error;
  }
}
