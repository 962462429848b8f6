import type { FileHandle } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import type { ContentAddressableStorage } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import type { ByteStream } from '../../../gen/google/bytestream/bytestream_pb.js';
import { type BlobName, blobText, emptyHash } from '../../content/blob-name.js';
import { CallError } from '../../rpc/call-error.js';
import type { CallSettings, ClientOf } from '../../rpc/client.js';
import { retrying } from '../retry.js';
import type { CountedOn } from '../upload/counted-on.js';

/** A store of content that speaks the Remote Execution API, as inputs are read from it. */
export type InputSource = {
  readonly cas: Pick<ClientOf<typeof ContentAddressableStorage>, 'batchReadBlobs'>;
  readonly bytes: Pick<ClientOf<typeof ByteStream>, 'read'>;
  /** Name of the instance; empty for the one that has none. */
  readonly instance?: string;
  /** Whether it is another store than the server's, which the claim token is not for. */
  readonly elsewhere?: boolean;
  /** What runs count on there, if it is another store: nobody else has that stay. */
  readonly countedOn?: CountedOn;
};

/** A blob that is not there any more. */
export class BlobGone extends Error {
  override readonly name = 'BlobGone';
  readonly blob: BlobName;

  constructor(blob: BlobName) {
    super(`blob ${blobText(blob)} is not there`);
    this.blob = blob;
  }
}

/** Blobs up to so many bytes are read in batches, of so many bytes and blobs at most: what every store takes. */
export const largestInBatch = 256 * 1024;
export const batchBytes = 1024 * 1024;
export const batchBlobs = 500;

/** How long one call may take that reads a batch, in milliseconds. */
const batchTimeout = 120_000;

/** All of small blobs. Tries again while the store is away, until the signal ends it. @throws BlobGone; CallError; the signal's reason */
export async function fetchBatch(
  { cas, instance = '' }: InputSource,
  blobs: readonly BlobName[],
  call: CallSettings,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const wanted = blobs.filter(({ hash }) => hash !== emptyHash);
  const found = new Map<string, Uint8Array>([[emptyHash, new Uint8Array()]]);
  if (wanted.length === 0) return found;
  return retrying(signal, async () => {
    const digests = wanted.map(({ hash, size }) => ({ hash, sizeBytes: BigInt(size) }));
    const asked = { instanceName: instance, digests };
    const { responses } = await cas.batchReadBlobs(asked, { ...call, signal, timeoutMs: batchTimeout });
    for (const { digest, data, status: told } of responses) {
      if (!digest) continue;
      const { code = status.OK, message = '' } = told ?? {};
      if (code === status.OK) found.set(digest.hash, data);
      else if (!isGone(code)) throw new CallError(code, message);
    }
    for (const blob of wanted) if (!found.has(blob.hash)) throw new BlobGone(blob);
    return found;
  });
}

/** Fills a file with a blob, gone on with where a connection broke. @throws as `fetchBatch`; Error of the system */
export async function fetchLarge(
  { bytes, instance = '' }: InputSource,
  blob: BlobName,
  file: FileHandle,
  call: CallSettings,
  signal: AbortSignal,
): Promise<void> {
  let at = 0;
  const resourceName = `${instance === '' ? '' : `${instance}/`}blobs/${blobText(blob)}`;
  await retrying(signal, async () => {
    try {
      for await (const { data } of bytes.read({ resourceName, readOffset: BigInt(at) }, { ...call, signal })) {
        for (let done = 0; done < data.length; ) {
          done += (await file.write(data, done, data.length - done, at + done)).bytesWritten;
        }
        at += data.length;
        if (at > blob.size) return;
      }
    } catch (error) {
      throw error instanceof CallError && isGone(error.code) ? new BlobGone(blob) : error;
    }
  });
}

/** Whether there is no such blob, or none with the bytes that it should have. */
const isGone = (code: number): boolean => code === status.NOT_FOUND || code === status.DATA_LOSS;
