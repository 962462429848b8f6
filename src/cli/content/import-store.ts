import { type FileHandle, lstat, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { buildTree } from '../../content/trees/build-tree.js';
import { invalid, MemoirError, messageOf, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { CallError } from '../../rpc/call-error.js';
import { blobPath } from '../../worker/store/content-store.js';
import { addressOf, type Manifest, manifestBegin, manifestOf } from '../../worker/store/manifest.js';
import { type BlobSource, ChangedMeanwhile, uploadBlobs } from '../../worker/upload/upload-blobs.js';
import { type Clients, withClients } from '../client.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';

type Options = RemoteOptions & { readonly json?: boolean };

/** Exit code where something could not be taken in. */
const notAll = 4;

/** Largest content that is looked at as a manifest, in bytes. */
const largestManifest = 512 * 1024 ** 2;

/** `memoir content import`. */
export function importStoreCommand(): Command {
  const command = new Command('import')
    .description("take in what an old worker's --store-dir has, so that its jobs' outputs and logs can be had")
    .argument('<directory>', 'the --store-dir of the worker');
  return remote(withJson(command)).action((directory: string, options: Options) =>
    withClients(options, async (clients) => {
      let [taken, failed] = [0, 0];
      for await (const [sha256, manifest] of manifestsIn(directory)) {
        const old = addressOf(sha256);
        try {
          const address = await take(clients, directory, manifest);
          taken++;
          if (options.json) await printLine(JSON.stringify({ old, address }));
          else await printLine(`${old} is ${printable(address)}`);
        } catch (error) {
          if (!isOfContent(error)) throw error;
          failed++;
          note(`${old} cannot be taken in: ${printable(messageOf(error))}`);
        }
      }
      if (!options.json) await printLine(`${taken} outputs and logs are kept by the server now`);
      if (failed > 0) process.exitCode = notAll;
    }),
  );
}

/** Whether an error is one of what is to be taken in, so that the rest may go on. */
function isOfContent(error: unknown): boolean {
  if (error instanceof CallError) return ['BAD_TREE', 'TREE_TOO_LARGE', 'CONTENT_ERASED'].includes(error.reason);
  return error instanceof MemoirError || error instanceof ChangedMeanwhile;
}

/** Every manifest in a store, in the order of the digests. @throws MemoirError INVALID_ARGUMENT if it is no store */
async function* manifestsIn(store: string): AsyncGenerator<readonly [sha256: string, manifest: Manifest]> {
  const root = join(store, 'sha256');
  const prefixes = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    throw invalid('directory', 'NO_STORE', `${quote(store)} is no --store-dir of a worker: ${error.message}`);
  });
  for (const prefix of prefixes.filter((name) => /^[0-9a-f]{2}$/.test(name)).sort()) {
    for (const rest of (await readdir(join(root, prefix))).filter((name) => /^[0-9a-f]{62}$/.test(name)).sort()) {
      const manifest = await manifestAt(join(root, prefix, rest));
      if (manifest) yield [prefix + rest, manifest];
    }
  }
}

async function manifestAt(path: string): Promise<Manifest | undefined> {
  const { size } = await lstat(path);
  if (size < manifestBegin.length || size > largestManifest) return undefined;
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(manifestBegin.length), 0, manifestBegin.length, 0);
    if (buffer.toString('latin1') !== manifestBegin) return undefined;
  } finally {
    await file.close();
  }
  return manifestOf(await readFile(path));
}

/** Uploads what a manifest names, and has it kept. @returns its address as a tree */
async function take(clients: Clients, store: string, { files }: Manifest): Promise<string> {
  const sources = new Map<string, BlobSource>();
  const entries = files.map((file) => {
    if ('symlink' in file) return file;
    const { path, sha256: hash, size, executable } = file;
    sources.set(hash, { hash, size, from: () => openBlob(store, hash, path, size) });
    return { path, blob: { hash, size }, executable };
  });
  const { root, directories } = buildTree(entries);
  for (const [hash, data] of directories) sources.set(hash, { hash, size: data.length, from: data });
  const { cas, bytes, capabilities, content } = clients;
  const quiet = { info: () => undefined, warn: () => undefined };
  await uploadBlobs(
    { cas, bytes, capabilities, edge: systemEdge, logger: quiet },
    [...sources.values()],
    {},
    new AbortController().signal,
  );
  const { hash, size } = root;
  const { address } = await content.putContent({ digest: { hash, sizeBytes: BigInt(size), kind: ContentKind.TREE } });
  return address;
}

/** A content of a store that is of the size which it should have. @throws MemoirError naming the path if it is not */
async function openBlob(store: string, hash: string, path: string, size: number): Promise<FileHandle> {
  const at = blobPath(store, hash);
  const found = await lstat(at).catch(() => undefined);
  if (found?.isFile() && found.size === size) return open(at, 'r');
  const what = found ? `has ${found.size} bytes instead of ${size}` : 'is not there';
  throw new MemoirError('DATA_LOSS', 'CONTENT_LOST', `the content of its file ${quote(path)} ${what}`);
}
