import { addLeaves, emptyRoot, type GrowingTree, growingTree, hashLength } from '../../domain/log-tree/growing-tree.js';
import type { LeafPage } from '../../domain/log-tree/leaf-page.js';
import { tileWidth } from '../../domain/log-tree/tiles.js';

/** The tree over the first so many leaves, and the position of the last of them. */
export type RootAt = { readonly root: Buffer; readonly position: number };

/** The tree over pages of leaves that come one after the other. */
export type RootsOfPages = {
  take(page: LeafPage): void;
  size(): number;
  root(): Buffer;
  /** The tree when it had so many leaves; undefined if it has not so many, or if that was too many pages ago. */
  rootAt(size: number): RootAt | undefined;
};

/** Pages that are kept: a checkpoint is recorded right after what it is of. */
const keptPages = 32;

/** Starts without leaves. */
export function rootsOfPages(): RootsOfPages {
  const tree = growingTree();
  const recent: { readonly before: GrowingTree; readonly page: LeafPage }[] = [];
  return {
    take(page) {
      recent.push({ before: tree.copy(), page });
      if (recent.length > keptPages) recent.shift();
      addPage(tree, page, page.positions.length);
    },
    size: tree.size,
    root: tree.root,
    rootAt(size) {
      if (size === 0) return { root: emptyRoot, position: 0 };
      const at = recent.find(
        ({ before, page }) => before.size() < size && size <= before.size() + page.positions.length,
      );
      if (!at) return undefined;
      const grown = at.before.copy();
      const count = size - grown.size();
      addPage(grown, at.page, count);
      return { root: grown.root(), position: at.page.positions[count - 1] as number };
    },
  };
}

/** Adds the first leaves of a page, by whole tiles where the tree is made of whole tiles so far. */
function addPage(tree: GrowingTree, { hashes, roots }: LeafPage, count: number): void {
  const tiles = tree.size() % tileWidth === 0 ? Math.floor(count / tileWidth) : 0;
  for (let i = 0; i < tiles; i++) tree.addSubtree(roots.subarray(i * hashLength, (i + 1) * hashLength), tileWidth);
  addLeaves(tree, hashes.subarray(tiles * tileWidth * hashLength, count * hashLength));
}
