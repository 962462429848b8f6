import { createHash } from 'node:crypto';
import { ContentKind } from '../../../../gen/memoir/jobs/v1/digest_pb.js';
import { hashInto } from '../../../content/blob-files.js';
import { type BlobName, blobText } from '../../../content/blob-name.js';
import { buildTree, type TreeFile } from '../../../content/trees/build-tree.js';
import { treeLimits, treeTooLarge } from '../../../content/trees/tree-limits.js';
import { quote } from '../../../domain/errors.js';
import { addressOf } from '../../../domain/outputs/digest.js';
import { systemEdge } from '../../../edge.js';
import { type BlobSource, ChangedMeanwhile, uploadBlobs } from '../../../worker/upload/upload-blobs.js';
import type { Clients } from '../../client.js';
import { bytesText } from '../../text/bytes-text.js';
import { note } from '../../text/output.js';
import { printable } from '../../text/printable.js';
import { progressLine } from '../../text/progress-line.js';
import { localFiles, openLocal, unputtable } from './local-files.js';

/** What became of a file or directory. */
export type Put = {
  readonly path: string;
  readonly address: string;
  /** What a parameter is to be, so that a run is given it: the address, of a file with its name behind it. */
  readonly parameter: string;
  readonly files: number;
  readonly bytes: number;
};

/** Files and directories that are to be put. */
export type Puts = {
  /**
   * Hashes what lies at a path. A file becomes a tree with that file alone, so that it keeps its name, or with `bare` a blob without any.
   * @throws MemoirError INVALID_ARGUMENT naming what cannot be put
   */
  add(path: string, how?: { readonly bare?: boolean }): Promise<Put>;
  /** Uploads all of it and has it kept. @throws MemoirError if something changed since it was hashed; CallError */
  upload(clients: Clients): Promise<void>;
};

/** Starts with none. */
export function openPuts(): Puts {
  const sources = new Map<string, BlobSource>();
  const placeOf = new Map<string, string>();
  const roots = new Map<string, BlobName & { readonly kind: ContentKind }>();

  return {
    async add(given, { bare = false } = {}) {
      const local = await localFiles(given);
      const files: TreeFile[] = [];
      let bytes = 0;
      for (const one of local.files) {
        if ('symlink' in one) {
          files.push({ path: one.path, symlink: one.symlink });
          continue;
        }
        const blob = await nameOf(one.at);
        bytes += blob.size;
        if (bytes > treeLimits.bytes) throw treeTooLarge(`${quote(given)} has more than ${treeLimits.bytes} bytes`);
        sources.set(blob.hash, { ...blob, from: () => openLocal(one.at) });
        placeOf.set(blob.hash, one.at);
        files.push({ path: one.path, blob, executable: one.executable });
      }
      const count = { files: files.length, bytes };
      const [first] = files;
      if (bare && !local.isDirectory && first && 'blob' in first) {
        roots.set(first.blob.hash, { ...first.blob, kind: ContentKind.BLOB });
        const address = addressOf(first.blob);
        return { path: given, address, parameter: address, ...count };
      }
      if (bare) throw unputtable(given, 'it is a directory, and --bare is for files');
      const { root, directories } = buildTree(files);
      for (const [hash, data] of directories) sources.set(hash, { hash, size: data.length, from: data });
      roots.set(root.hash, { ...root, kind: ContentKind.TREE });
      const address = addressOf(root);
      return { path: given, address, parameter: local.isDirectory ? address : `${address}/${local.name}`, ...count };
    },

    async upload(clients) {
      if (roots.size === 0) return;
      await clients.content.describeContent({}, clients.unary);
      const line = await progressLine('looking what is there', systemEdge.monotonic);
      try {
        const remote = {
          cas: clients.cas,
          bytes: clients.bytes,
          capabilities: clients.capabilities,
          edge: systemEdge,
          logger: {
            info: () => undefined,
            warn: (about: unknown, what?: string) => {
              const { why = '' } = about as { readonly why?: string };
              note(`${what}${why === '' ? '' : `: ${printable(why)}`}`);
            },
          },
          onSent: (sent: number, of: number) => line.set(`${bytesText(BigInt(sent))} of ${bytesText(BigInt(of))} put`),
        };
        await uploadBlobs(remote, [...sources.values()], {}, new AbortController().signal);
        for (const { hash, size, kind } of roots.values()) {
          await clients.content.putContent({ digest: { hash, sizeBytes: BigInt(size), kind } });
        }
      } catch (error) {
        if (!(error instanceof ChangedMeanwhile)) throw error;
        throw unputtable(placeOf.get(error.blob.hash) ?? blobText(error.blob), 'it changed while it was uploaded');
      } finally {
        line.stop();
      }
    },
  };
}

async function nameOf(at: string): Promise<BlobName> {
  const file = await openLocal(at);
  try {
    const hash = createHash('sha256');
    const size = await hashInto(hash, file);
    return { hash: hash.digest('hex'), size };
  } finally {
    await file.close();
  }
}
