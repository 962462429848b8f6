import type { BlobName } from './blob-name.js';
import type { ContentStore } from './content.js';

/** All of a small blob. @throws as `ContentStore.read` and its reading */
export async function readWhole(content: Pick<ContentStore, 'read'>, name: BlobName): Promise<Uint8Array> {
  const reading = await content.read(name, 0, name.size);
  try {
    const first = await reading.next();
    if (first.length === name.size) return first;
    const pieces = [first];
    for (let length = first.length; length < name.size; ) {
      const piece = await reading.next();
      pieces.push(piece);
      length += piece.length;
    }
    return Buffer.concat(pieces, name.size);
  } finally {
    await reading.close();
  }
}
