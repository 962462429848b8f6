import { fromBinary } from '@bufbuild/protobuf';
import { type Directory, DirectorySchema } from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { invalid, MemoirError, quote } from '../domain/errors.js';
import { type BlobName, blobName, blobText } from './blob-name.js';
import type { ContentStore } from './content.js';

/** Most bytes of one Directory: what fits into a message that every client takes. */
const largestDirectory = 3 * 1024 * 1024;

/** Bytes of directories in one page, after which the next begins. */
const pageBytes = 1024 * 1024;

/** Most directories of a tree, each counted once. */
const mostDirectories = 1_000_000;

/** Directories of one message. */
export type TreePage = { readonly directories: readonly Directory[]; readonly nextPageToken: string };

/** Where to begin, and how many directories a page has at most; 0 for as many as fit. */
export type TreeOptions = { readonly pageSize: number; readonly pageToken: string };

/**
 * The directories of a tree, breadth first from its root, each once however often it stands in the tree: so what is walked is never more
 * than what is stored. Those that are not there are left out, but for the root.
 * @throws MemoirError NOT_FOUND BLOB_NOT_FOUND for the root; INVALID_ARGUMENT NOT_A_DIRECTORY naming a blob that is none
 */
export async function* treePages(
  content: Pick<ContentStore, 'get'>,
  root: BlobName,
  { pageSize, pageToken }: TreeOptions,
): AsyncGenerator<TreePage> {
  if (pageSize < 0) throw invalid('page_size', 'OUT_OF_RANGE', `page_size ${pageSize} is below 0`);
  const skip = pageToken === '' ? 0 : Number(pageToken);
  if (!/^[0-9]{0,7}$/.test(pageToken)) {
    throw invalid('page_token', 'BAD_PAGE_TOKEN', `page_token ${quote(pageToken)} is not one that this server gave`);
  }
  const met = new Set([root.hash]);
  const queue = [root];
  let page: Directory[] = [];
  let bytes = 0;
  let count = 0;
  for (const name of queue) {
    const read = await directoryOf(content, name, name === root);
    if (!read) continue;
    const { directory } = read;
    for (const { digest } of directory.directories) {
      const below = blobName('directory', digest);
      if (met.has(below.hash)) continue;
      met.add(below.hash);
      queue.push(below);
    }
    if (met.size > mostDirectories) {
      throw new MemoirError(
        'RESOURCE_EXHAUSTED',
        'TREE_TOO_LARGE',
        `the tree has more than ${mostDirectories} directories`,
      );
    }
    if (++count <= skip) continue;
    if (page.length > 0 && (page.length === pageSize || bytes + name.size > pageBytes)) {
      yield { directories: page, nextPageToken: String(count - 1) };
      page = [];
      bytes = 0;
    }
    page.push(directory);
    bytes += name.size;
  }
  yield { directories: page, nextPageToken: '' };
}

async function directoryOf(
  content: Pick<ContentStore, 'get'>,
  name: BlobName,
  isRoot: boolean,
): Promise<{ readonly directory: Directory } | undefined> {
  if (name.size > largestDirectory) {
    throw new MemoirError('INVALID_ARGUMENT', 'NOT_A_DIRECTORY', `blob ${blobText(name)} is larger than any Directory`);
  }
  const [data] = await content.get([name]);
  if (!data || data instanceof MemoirError) {
    if (!isRoot && data?.code === 'NOT_FOUND') return undefined;
    throw data;
  }
  try {
    const directory = fromBinary(DirectorySchema, data);
    for (const { digest } of directory.directories) blobName('directory', digest);
    return { directory };
  } catch (error) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'NOT_A_DIRECTORY',
      `blob ${blobText(name)} is no Directory: ${(error as Error).message}`,
    );
  }
}
