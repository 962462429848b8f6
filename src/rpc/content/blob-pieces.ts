import type { BlobName } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';

/** Most bytes of one message: every client takes up to 4 MiB. */
const mostBytes = 2 * 1024 * 1024;

/** From which byte on a blob is read, and how many at most; 0 for all that follow. */
export type Part = { readonly offset: number; readonly limit: number };

/** The bytes of a part of a blob, in pieces that are a message each. `check` looks before each read is told whether the call may go on. */
export async function* blobPieces(
  content: Pick<ContentStore, 'read'>,
  blob: BlobName,
  { offset, limit }: Part,
  check: () => void,
): AsyncGenerator<Uint8Array> {
  const reading = await content.read(blob, offset, limit === 0 ? blob.size : limit);
  try {
    for (;;) {
      const data = await reading.next();
      if (data.length === 0) return;
      check();
      // As it came, since it may have room; a store elsewhere may give more at once than a client takes.
      if (data.length <= mostBytes) yield data;
      else for (let at = 0; at < data.length; at += mostBytes) yield data.subarray(at, at + mostBytes);
    }
  } finally {
    await reading.close();
  }
}
