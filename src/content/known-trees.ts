import { hash } from 'node:crypto';
import type { BlobName } from './blob-name.js';
import type { Brought } from './brought.js';
import type { ContentStore } from './content.js';
import { walkTree } from './trees/walk-tree.js';

/** Content that somebody may know of, though another brought it. */
export type KnownContent = { readonly blob: BlobName; readonly isTree: boolean };

/** Has all that hangs from some content count as brought by who may know of it. */
export type KnowAll = (brought: Brought, bringer: string, contents: readonly KnownContent[]) => Promise<void>;

/** Makes it. What is known already is not walked again; what is not there is passed over, and looked for again the next time. */
export function knowTrees(content: Pick<ContentStore, 'get' | 'missing'>): KnowAll {
  const underWay = new Map<string, Promise<void>>();

  async function know(brought: Brought, mark: string, { blob, isTree }: KnownContent): Promise<void> {
    let whole = true;
    if (isTree) {
      const onMissing = () => {
        whole = false;
      };
      for await (const entries of walkTree(content, blob, { onMissing })) {
        for (const { node } of entries) if (node.kind !== 'symlink') brought.add(node.blob.hash);
      }
    }
    brought.add(blob.hash);
    if (whole) brought.add(mark);
  }

  return async (brought, bringer, contents) => {
    for (const one of contents) {
      // That all of it was walked is remembered, and forgotten, with what it is remembered of.
      const mark = hash('sha256', `all of ${one.blob.hash}`);
      if (brought.has(mark)) continue;
      const key = `${bringer} ${mark}`;
      const walking = underWay.get(key) ?? know(brought, mark, one).finally(() => underWay.delete(key));
      underWay.set(key, walking);
      await walking;
    }
  };
}
