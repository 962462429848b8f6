import { MemoirError } from '../domain/errors.js';
import { type BlobName, blobText } from './blob-name.js';
import type { ContentStore } from './content.js';

/** A store that does not take again what must not exist any more. */
export function refusingErased<S extends ContentStore>(content: S, isErased: (hash: string) => boolean): S {
  const error = (name: BlobName) =>
    new MemoirError(
      'FAILED_PRECONDITION',
      'CONTENT_ERASED',
      `blob ${blobText(name)} was erased: it must not exist any more, and is not taken again`,
      { metadata: { blob: blobText(name) } },
    );
  return {
    ...content,
    async put(blobs, how) {
      const taken = blobs.filter(({ name }) => !isErased(name.hash));
      const errors = taken.length > 0 ? await content.put(taken, how) : [];
      let next = 0;
      return blobs.map(({ name }) => (isErased(name.hash) ? error(name) : errors[next++]));
    },
    async write(piece) {
      if (isErased(piece.name.hash)) throw error(piece.name);
      return content.write(piece);
    },
  };
}
