import { createHash } from 'node:crypto';
import type { TreeEntry } from './walk-tree.js';

/**
 * Takes the entries of a tree in the order in which a walk meets them, and gives the address that the same files have as a manifest: that
 * of the JSON list of them by which outputs were named before trees. Empty directories do not count in it.
 */
export function manifestHash(): { add(entry: TreeEntry): void; address(): string } {
  const hash = createHash('sha256').update('{"files":[');
  let first = true;
  return {
    add({ path, node }) {
      if (node.kind === 'directory') return;
      const name = JSON.stringify(path);
      const text =
        node.kind === 'symlink'
          ? `{"path":${name},"symlink":${JSON.stringify(node.target)}}`
          : `{"executable":${node.executable},"path":${name},"sha256":"${node.blob.hash}","size":${node.blob.size}}`;
      hash.update(first ? text : `,${text}`);
      first = false;
    },
    address: () => `sha256:${hash.update(']}').digest('hex')}`,
  };
}
