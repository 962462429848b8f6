import { type BlobName, emptyHash } from './blob-name.js';
import { packed, type Root, type RootReader } from './blobs-of-root.js';

/** Where a root has a blob, of how many bytes, and whether that is a directory there. */
export type PlaceOfBlob = { readonly path: string; readonly size: number; readonly isTree: boolean };

/** A blob of a tree that something else needs. */
export type NeededBlob = {
  readonly blob: BlobName;
  /** Where the tree has it. */
  readonly path: string;
  /** Hash of the first root that needs it. */
  readonly by: string;
};

/** By which path roots have a blob; undefined for those that do not. */
export async function placesOf(
  { entriesOf }: RootReader,
  roots: readonly Root[],
  hash: string,
): Promise<readonly (PlaceOfBlob | undefined)[]> {
  const places: (PlaceOfBlob | undefined)[] = [];
  for (const { name, isTree } of roots) {
    let place: PlaceOfBlob | undefined = name.hash === hash ? { path: '', size: name.size, isTree } : undefined;
    if (!place && isTree) {
      for await (const entries of entriesOf(name)) {
        for (const { path, node } of entries) {
          if (node.kind === 'symlink' || node.blob.hash !== hash) continue;
          place ??= { path, size: node.blob.size, isTree: node.kind === 'directory' };
        }
        if (place) break;
      }
    }
    places.push(place);
  }
  return places;
}

/** What goes with a tree: everything below it that nothing else needs. */
export type TreeToErase = {
  /** Tells of roots that stay. */
  stay(roots: readonly Root[]): Promise<void>;
  /** Up to `limit` blobs below the tree that none of them has, from a number on, each once. Asked for when all that stay are told. */
  own(from: number, limit: number): readonly Root[];
  /** How many blobs below the tree any of them has, and up to `limit` of these. */
  needed(limit: number): { readonly count: number; readonly first: readonly NeededBlob[] };
};

/** Makes it of all that hangs below a tree, which itself hangs at a path of a root. */
export async function treeToErase(
  { entriesOf, blobsOf }: RootReader,
  tree: BlobName,
  at: string,
): Promise<TreeToErase> {
  const below = new Map<string, Root & { readonly path: string; by?: string }>();
  const above = at === '' ? 0 : at.length + 1;
  for await (const entries of entriesOf(tree, at)) {
    for (const { path, node } of entries) {
      if (node.kind === 'symlink' || node.blob.hash === emptyHash || node.blob.hash === tree.hash) continue;
      const key = packed(node.blob.hash);
      if (!below.has(key))
        below.set(key, { name: node.blob, isTree: node.kind === 'directory', path: path.slice(above) });
    }
  }
  let listed: readonly Root[] | undefined;
  return {
    async stay(roots) {
      for (const root of roots) {
        for await (const { hash } of blobsOf(root)) {
          const found = below.get(packed(hash));
          if (found) found.by ??= root.name.hash;
        }
      }
    },
    own(from, limit) {
      // Once it is asked for, everything that stays was told of.
      listed ??= [...below.values()].filter(({ by }) => by === undefined);
      return listed.slice(from, from + limit);
    },
    needed(limit) {
      const first: NeededBlob[] = [];
      let count = 0;
      for (const { name, path, by } of below.values()) {
        if (by === undefined) continue;
        count++;
        if (first.length < limit) first.push({ blob: name, path, by });
      }
      return { count, first };
    },
  };
}
