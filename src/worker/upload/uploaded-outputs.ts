import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { hashInto } from '../../content/blob-files.js';
import type { BlobName } from '../../content/blob-name.js';
import { buildTree, type TreeFile } from '../../content/trees/build-tree.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { addressOf } from '../../domain/outputs/digest.js';
import { claimHeader, claimText } from '../../rpc/claim-header.js';
import { type OutputLimits, openOutputFile, outputFiles, tooLarge } from '../store/output-files.js';
import type { HeldRun, Outputs } from '../store/outputs.js';
import { unstorable } from '../store/unstorable.js';
import { type BlobSource, ChangedMeanwhile, type OpenBytes, type RemoteContent, uploadBlobs } from './upload-blobs.js';

/** Leaves outputs with a server, as trees and blobs of its content, for who holds the attempt that made them. */
export function uploadedOutputs(remote: RemoteContent, place: string): Outputs {
  return {
    place,
    keepsParts: true,
    async putDirectory(directory, { limits = unlimited, run, signal }, held) {
      const sources = new Map<string, BlobSource>();
      const pathOf = new Map<string, string>();
      const files: TreeFile[] = [];
      let left = limits.bytes;
      let bytes = 0n;
      for (const file of await outputFiles(directory, limits, run, signal)) {
        signal.throwIfAborted();
        if ('symlink' in file) {
          files.push(file);
          continue;
        }
        const from = () => openOutputFile(file.at, file.path);
        const blob = await nameOf(from, left, limits, signal);
        left -= blob.size;
        bytes += BigInt(blob.size);
        files.push({ path: file.path, blob, executable: file.executable });
        sources.set(blob.hash, { ...blob, from });
        pathOf.set(blob.hash, file.path);
      }
      const { root, directories } = built(files);
      for (const [hash, data] of directories) sources.set(hash, { hash, size: data.length, from: data });
      try {
        await upload(remote, [...sources.values()], held, signal);
      } catch (error) {
        if (!(error instanceof ChangedMeanwhile)) throw error;
        throw unstorable(
          `${quote(pathOf.get(error.blob.hash) ?? '')} in the output directory changed while it was stored`,
        );
      }
      return {
        ...stored(root, ContentKind.TREE),
        isEmpty: files.length === 0,
        bytes,
      };
    },
    async putLog(log, held, signal) {
      const blob = await hashed(log, () => signal.throwIfAborted());
      await upload(remote, [{ ...blob, from: borrowed(log) }], held, signal);
      return { ...stored(blob, ContentKind.BLOB), bytes: BigInt(blob.size) };
    },
  };
}

const unlimited: OutputLimits = { bytes: Number.POSITIVE_INFINITY, files: Number.POSITIVE_INFINITY };

/** Uploads for an attempt, which counts on all of it from then on. */
function upload(
  remote: RemoteContent,
  blobs: readonly BlobSource[],
  held: HeldRun,
  signal: AbortSignal,
): Promise<void> {
  remote.countedOn?.add(held, blobs);
  return uploadBlobs(remote, blobs, claimed(remote, held), signal);
}

/** The metadata by which a call speaks for an attempt. */
const claimed = ({ elsewhere }: RemoteContent, { uuid, claimToken }: HeldRun) =>
  elsewhere ? {} : { metadata: { [claimHeader]: claimText(uuid, claimToken) } };

function stored(blob: BlobName, kind: ContentKind) {
  return { address: addressOf(blob), digest: { hash: blob.hash, sizeBytes: BigInt(blob.size), kind } };
}

/** The tree of some files. @throws MemoirError UNSTORABLE_OUTPUT naming what no tree can have */
function built(files: readonly TreeFile[]) {
  try {
    return buildTree(files);
  } catch (error) {
    throw error instanceof MemoirError ? unstorable(error.message) : error;
  }
}

async function nameOf(
  open: () => Promise<FileHandle>,
  left: number,
  limits: OutputLimits,
  signal: AbortSignal,
): Promise<BlobName> {
  const file = await open();
  try {
    return await hashed(file, (size) => {
      signal.throwIfAborted();
      // It grew since it was looked at.
      if (size > left) throw tooLarge(`its files have more than ${limits.bytes} bytes`);
    });
  } finally {
    await file.close();
  }
}

/** The name of what a file holds, from its beginning to its end. `goOn` is told how much was read, and throws to break it off. */
async function hashed(file: FileHandle, goOn: (size: number) => void): Promise<BlobName> {
  const hash = createHash('sha256');
  let read = 0;
  goOn(read);
  const size = await hashInto(hash, file, async (bytes) => {
    read += bytes;
    goOn(read);
  });
  return { hash: hash.digest('hex'), size };
}

/** A file that somebody else closes. */
function borrowed(file: FileHandle): () => Promise<OpenBytes> {
  return async () => ({
    read: (into, from, length, at) => file.read(into, from, length, at),
    close: async () => undefined,
  });
}
