import type { MemoirError } from '../domain/errors.js';
import { notFound } from './blob-files.js';
import { emptyHash } from './blob-name.js';
import type { Brought } from './brought.js';
import type { ContentStore } from './content.js';

/**
 * Content as somebody sees it who may know of nothing but what it brought itself: all else is missing, and is taken when it is brought,
 * as if it were not there, so that neither an answer nor the time that it takes tells what others keep.
 */
export function broughtContent(content: ContentStore, brought: Brought): ContentStore {
  const knows = ({ hash }: { readonly hash: string }) => hash === emptyHash || brought.has(hash);
  return {
    identity: () => content.identity(),
    async hold(names, ms) {
      const missing = new Set((await content.hold(names.filter(knows), ms)).map(({ hash }) => hash));
      return names.filter((name) => !knows(name) || missing.has(name.hash));
    },
    corrupted: (names) => content.corrupted(names.filter(knows)),
    onDoubt: (listener) => content.onDoubt(listener),
    async missing(names) {
      const missing = new Set((await content.missing(names.filter(knows))).map(({ hash }) => hash));
      return names.filter((name) => !knows(name) || missing.has(name.hash));
    },
    async read(name, offset, limit) {
      if (!knows(name)) throw notFound(name);
      return content.read(name, offset, limit);
    },
    async get(names) {
      const found = await content.get(names.filter(knows));
      let next = 0;
      return names.map((name) => (knows(name) ? (found[next++] as Uint8Array | MemoirError) : notFound(name)));
    },
    async put(blobs, how) {
      const errors = await content.put(blobs, { ...how, blind: blobs.some(({ name }) => !knows(name)) });
      for (const [i, { name }] of blobs.entries()) if (!errors[i]) brought.add(name.hash, name.size);
      return errors;
    },
    async write(piece) {
      const uploaded = await content.write({ ...piece, blind: !knows(piece.name) });
      if (uploaded.complete) brought.add(piece.name.hash, piece.name.size);
      return uploaded;
    },
    uploaded: (name, upload) => content.uploaded(name, upload, { blind: !knows(name) }),
    close: () => content.close(),
  };
}

/** Content as it is, with a note of what somebody counts on: what it brought, or was told to be there. */
export function notedContent(content: ContentStore, brought: Pick<Brought, 'add'>): ContentStore {
  return {
    ...content,
    async missing(names) {
      const missing = await content.missing(names);
      const gone = new Set(missing.map(({ hash }) => hash));
      for (const { hash, size } of names) if (!gone.has(hash)) brought.add(hash, size);
      return missing;
    },
    async put(blobs, how) {
      const errors = await content.put(blobs, how);
      for (const [i, { name }] of blobs.entries()) if (!errors[i]) brought.add(name.hash, name.size);
      return errors;
    },
    async write(piece) {
      const uploaded = await content.write(piece);
      if (uploaded.complete) brought.add(piece.name.hash, piece.name.size);
      return uploaded;
    },
  };
}
