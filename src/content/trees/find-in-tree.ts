import { invalid, MemoirError, quote } from '../../domain/errors.js';
import type { BlobName } from '../blob-name.js';
import type { ContentStore } from '../content.js';
import { type Node, nodesOf } from './check-directory.js';
import { type KnownDirectories, readDirectory } from './read-directory.js';
import { badTree, treeLimits } from './tree-limits.js';

/** Most symbolic links that are followed on the way to one entry. */
const mostLinks = 40;

/** What stands at a path: the node, or the root itself, and the path that it has when links are followed. */
export type Found = {
  readonly path: string;
  readonly node: Node | { readonly kind: 'directory'; readonly blob: BlobName };
};

/**
 * What stands at a path of a tree, as an open(2) in its root would find it: links on the way are followed, as is the last one. A path that
 * climbs out of the tree is refused. `known` spares reading directories again.
 * @throws MemoirError INVALID_ARGUMENT BAD_PATH; NOT_FOUND PATH_NOT_FOUND, and as `walkTree`
 */
export async function findInTree(
  content: Pick<ContentStore, 'get'>,
  root: BlobName,
  given: string,
  known?: KnownDirectories,
): Promise<Found> {
  if (given.includes('\0') || given.startsWith('/') || Buffer.byteLength(given) > treeLimits.path) throw badPath(given);
  const left = partsOf(given);
  if (left.includes('..')) throw badPath(given);
  const way: { readonly name: string; readonly blob: BlobName }[] = [];
  let links = 0;
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '..') {
      way.pop();
      continue;
    }
    const blob = way.at(-1)?.blob ?? root;
    const node = (await nodesAt(content, blob, known)).find(({ name }) => name === part);
    if (!node) throw notThere(given);
    if (node.kind === 'directory') way.push({ name: part, blob: node.blob });
    else if (node.kind === 'symlink') {
      if (++links > mostLinks) throw notThere(given, `more than ${mostLinks} links are on the way`);
      if (node.ups > way.length)
        throw badTree(`the link ${quote(part)} to ${quote(node.target)} leads out of the tree`);
      left.unshift(...partsOf(node.target));
    } else if (left.length > 0) throw notThere(given, `${quote(part)} is a file`);
    else return { path: [...way.map(({ name }) => name), part].join('/'), node };
  }
  return { path: way.map(({ name }) => name).join('/'), node: { kind: 'directory', blob: way.at(-1)?.blob ?? root } };
}

async function nodesAt(
  content: Pick<ContentStore, 'get'>,
  blob: BlobName,
  known: KnownDirectories | undefined,
): Promise<readonly Node[]> {
  const before = known?.get(blob.hash);
  if (before) return before;
  const data = await readDirectory(content, blob);
  if (data instanceof MemoirError) throw data;
  const nodes = nodesOf(blob, data);
  known?.set(blob.hash, nodes);
  return nodes;
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

function badPath(path: string): MemoirError {
  return invalid('path', 'BAD_PATH', `path ${quote(path)} is not one inside a tree: relative, without ".."`);
}

function notThere(path: string, why = ''): MemoirError {
  return new MemoirError(
    'NOT_FOUND',
    'PATH_NOT_FOUND',
    `there is no ${quote(path)} in it${why === '' ? '' : `: ${why}`}`,
    {
      field: 'path',
    },
  );
}
