import { type BlobFiles, heldFor } from './blob-files.js';
import { type BlobName, emptyHash } from './blob-name.js';
import { packed, type Root, rootReader } from './blobs-of-root.js';

/** Blobs that are looked at between two times that it is told how far that is. */
const toldEvery = 10_000;

/** How long a blob stays that no output, log or input names, in milliseconds: who uploaded it may be about to. */
const unreferencedFor = 24 * 3_600_000;

/** A root that is to stay only while there is room for it, and whose. */
export type BoundedRoot = Root & { readonly of: string };

/** Most bytes that stay: of all, and for each of whom roots are. */
export type Room = { readonly whole: number; readonly each: number };

/** What was removed, or would be. */
export type Removed = { readonly blobs: number; readonly bytes: number };

/**
 * One sweep over the blobs: what stays is told root by root, then the rest goes. Everything that is looked at and removed in one turn is so at
 * one moment, since all who hold blobs do it by the same thread. Roots are walked without marking anything as asked for.
 */
export function sweepBlobs(files: BlobFiles, now: () => number, marker: BlobName) {
  const begun = now();
  const { blobsOf } = rootReader(files);
  const stay = new Set<string>([packed(marker.hash), packed(emptyHash)]);
  const go = new Set<string>();
  const bytesOf = new Map<string, number>();
  let bytes = 0;
  const evicted = { folders: new Set<string>(), blobs: 0, bytes: 0 };

  const isHeld = (name: BlobName) => (files.askedSince(name)?.at ?? Number.NEGATIVE_INFINITY) + heldFor > begun;

  return {
    /** Has roots stay. */
    async keep(roots: readonly Root[]): Promise<void> {
      for (const root of roots) {
        for await (const { hash, size } of blobsOf(root)) {
          const key = packed(hash);
          if (stay.has(key)) continue;
          stay.add(key);
          bytes += size;
        }
      }
    },

    /** Has roots stay as far as there is room, in their order. @returns which of them stay */
    async keepWithin(roots: readonly BoundedRoot[], { whole, each }: Room): Promise<readonly boolean[]> {
      const kept: boolean[] = [];
      for (const root of roots) {
        const fresh = new Map<string, number>();
        let more = 0;
        for await (const { hash, size } of blobsOf(root)) {
          const key = packed(hash);
          if (stay.has(key) || fresh.has(key)) continue;
          fresh.set(key, size);
          more += size;
        }
        const of = (bytesOf.get(root.of) ?? 0) + more;
        const fits = more === 0 || (bytes + more <= whole && of <= each);
        kept.push(fits);
        if (!fits) continue;
        for (const key of fresh.keys()) stay.add(key);
        bytes += more;
        bytesOf.set(root.of, of);
      }
      return kept;
    },

    /** Of roots that nothing keeps, those that go: that nobody holds, and that are no part of what stays. */
    unheld: (roots: readonly Root[]): readonly boolean[] =>
      roots.map(({ name }) => !stay.has(packed(name.hash)) && !isHeld(name)),

    /** Looks again whether anybody holds a root, and takes it away if not, at one moment. @returns whether it went */
    async evict(root: Root): Promise<boolean> {
      const below: string[] = [];
      for await (const { hash } of blobsOf(root)) below.push(packed(hash));
      // From here to the removal is one turn: whoever comes to hold it does so before, or finds it gone.
      const found = files.askedSince(root.name);
      if (isHeld(root.name)) return false;
      files.remove(root.name);
      if (found) {
        evicted.folders.add(root.name.hash);
        evicted.blobs++;
        evicted.bytes += found.size;
      }
      for (const key of below) go.add(key);
      return true;
    },

    /**
     * Removes every blob that does not stay and was not asked for lately; with `dry` it only counts them. `tell` is told from time to time how many
     * were looked at.
     */
    async finish(dry: boolean, tell: (lookedAt: number) => void = () => undefined): Promise<Removed> {
      let lookedAt = 0;
      const removed = { blobs: evicted.blobs, bytes: evicted.bytes };
      const folders = new Map([...evicted.folders].map((hash) => [hash.slice(0, 2), hash]));
      for await (const { hash } of files.all()) {
        if (++lookedAt % toldEvery === 0) tell(lookedAt);
        const key = packed(hash);
        if (stay.has(key)) continue;
        const found = files.askedSince({ hash });
        if (!found || found.at + (go.has(key) ? heldFor : unreferencedFor) > begun) continue;
        if (!dry) {
          files.remove({ hash });
          folders.set(hash.slice(0, 2), hash);
        }
        removed.blobs++;
        removed.bytes += found.size;
      }
      await files.syncFolders(folders.values());
      return removed;
    },

    /** With `dry`: counts what is below roots as going. */
    async count(roots: readonly Root[]): Promise<void> {
      for (const root of roots) for await (const { hash } of blobsOf(root)) go.add(packed(hash));
    },
  };
}
