import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type {
  Capabilities,
  ContentAddressableStorage,
} from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import type { ByteStream } from '../../../gen/google/bytestream/bytestream_pb.js';
import { batches } from '../../content/batches.js';
import { type BlobName, blobText } from '../../content/blob-name.js';
import type { Edge } from '../../edge.js';
import { CallError } from '../../rpc/call-error.js';
import type { CallSettings, ClientOf } from '../../rpc/client.js';
import { retrying } from '../retry.js';
import type { CountedOn } from './counted-on.js';

/** Something whose bytes are read, such as an open file. */
export type OpenBytes = {
  read(into: Uint8Array, from: number, length: number, at: number): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
};

/** A blob that is to be uploaded, and where its bytes are. */
export type BlobSource = BlobName & { readonly from: Uint8Array | (() => Promise<OpenBytes>) };

/** A store of content that speaks the Remote Execution API, and how to call it. */
export type RemoteContent = {
  readonly cas: Pick<ClientOf<typeof ContentAddressableStorage>, 'findMissingBlobs' | 'batchUpdateBlobs'>;
  readonly bytes: Pick<ClientOf<typeof ByteStream>, 'write' | 'queryWriteStatus'>;
  readonly capabilities: Pick<ClientOf<typeof Capabilities>, 'getCapabilities'>;
  /** Name of the instance; empty for the one that has none. */
  readonly instance?: string;
  /** Whether it is another store than the server's, which the claim token is not for. */
  readonly elsewhere?: boolean;
  /** What runs count on there, if it is another store: nobody else has that stay. */
  readonly countedOn?: CountedOn;
  readonly edge: Pick<Edge, 'uuid' | 'monotonic'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Is told how many bytes of how many that are missing there are sent. */
  readonly onSent?: (bytes: number, of: number) => void;
};

/** A blob has other bytes than when its name was made. */
export class ChangedMeanwhile extends Error {
  override readonly name = 'ChangedMeanwhile';
  readonly blob: BlobName;

  constructor(blob: BlobName) {
    super(`the bytes of blob ${blobText(blob)} changed while they were uploaded`);
    this.blob = blob;
  }
}

/** Blobs that are asked for at once: what every server takes in one request. */
const asked = 500;

/** Uploads that go on at a time: with the sizes below what bounds the memory. */
const lanes = 4;

/** Most blobs, and bytes of one blob, of a batch. */
const batchBlobs = 1_000;
const largestInBatch = 256 * 1024;

/** Bytes of a batch where a store names no limit of its own. */
const usualBatch = 2 * 1024 * 1024;

/** Bytes of a batch, for each of its blobs, that are not those of the blob, and more. */
const aroundBlob = 128;

/** Most bytes of one message of a large blob. */
const pieceBytes = 512 * 1024;

/** How long one call may take that brings a batch, in milliseconds. */
const batchTimeout = 120_000;

/** How often it is told how far an upload is, in milliseconds. */
const tellEvery = 10_000;

/**
 * Uploads what the store does not have of some blobs: several at a time, small ones in batches, large ones in pieces, each gone on with where
 * a broken connection left it. Tries again while the store is away, or full, until the signal ends it.
 * @throws ChangedMeanwhile; CallError if the store refuses a blob; the signal's reason
 */
export async function uploadBlobs(
  remote: RemoteContent,
  blobs: readonly BlobSource[],
  call: CallSettings,
  signal: AbortSignal,
): Promise<void> {
  const { edge, logger } = remote;
  const missing = await missingOf(remote, blobs, call, signal);
  if (missing.length === 0) return;
  const total = missing.reduce((bytes, { size }) => bytes + size, 0);
  const { cacheCapabilities } = await retrying(signal, () =>
    remote.capabilities.getCapabilities({ instanceName: remote.instance ?? '' }, { ...call, signal }),
  );
  const most = Number(cacheCapabilities?.maxBatchTotalSizeBytes ?? 0n) || usualBatch;
  const queue = packed(missing, most);
  let done = 0;
  let told = edge.monotonic();
  function moved(bytes: number): void {
    done += bytes;
    remote.onSent?.(done, total);
    if (edge.monotonic() - told < tellEvery) return;
    told = edge.monotonic();
    logger.info({ bytes: done, of: total }, 'uploading');
  }
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const lane = async () => {
    for (const batch of queue) {
      const [first] = batch as [BlobSource, ...BlobSource[]];
      if (batch.length === 1 && first.size > Math.min(largestInBatch, most)) {
        await uploadLarge(remote, first, Math.min(pieceBytes, most), call, either, moved);
      } else {
        await uploadBatch(remote, batch, call, either);
        moved(batch.reduce((bytes, { size }) => bytes + size, 0));
      }
    }
  };
  const ends = await Promise.allSettled(
    Array.from({ length: lanes }, () =>
      lane().catch((error) => {
        failed.abort(error);
        throw error;
      }),
    ),
  );
  signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

async function missingOf(
  { cas, instance: instanceName = '' }: RemoteContent,
  blobs: readonly BlobSource[],
  call: CallSettings,
  signal: AbortSignal,
): Promise<BlobSource[]> {
  const byHash = new Map(blobs.map((blob) => [blob.hash, blob]));
  const names = [...byHash.values()];
  const missing: BlobSource[] = [];
  for (let at = 0; at < names.length; at += asked) {
    const blobDigests = names.slice(at, at + asked).map(digestOf);
    const found = await retrying(signal, () =>
      cas.findMissingBlobs({ instanceName, blobDigests }, { ...call, signal, timeoutMs: batchTimeout }),
    );
    for (const { hash } of found.missingBlobDigests) {
      const blob = byHash.get(hash);
      if (blob) missing.push(blob);
    }
  }
  return missing;
}

const digestOf = ({ hash, size }: BlobName) => ({ hash, sizeBytes: BigInt(size) });

/** Large blobs by themselves, then small ones in batches of so many bytes at most. */
function* packed(blobs: readonly BlobSource[], most: number): Generator<readonly BlobSource[]> {
  const isSmall = ({ size }: BlobName) => size <= Math.min(largestInBatch, most);
  for (const blob of blobs) if (!isSmall(blob)) yield [blob];
  yield* batches(
    blobs.filter(isSmall),
    { blobs: Math.min(batchBlobs, most / aroundBlob), bytes: most },
    ({ size }) => size,
  );
}

async function uploadBatch(
  { cas, instance: instanceName = '', logger }: RemoteContent,
  batch: readonly BlobSource[],
  call: CallSettings,
  signal: AbortSignal,
): Promise<void> {
  const requests: { digest: ReturnType<typeof digestOf>; data: Uint8Array }[] = [];
  for (const blob of batch) requests.push({ digest: digestOf(blob), data: await bytesOf(blob) });
  await retrying(signal, async (before, why) => {
    if (before > 0) logger.warn({ tries: before, blobs: batch.length, why }, 'uploading is tried again');
    const { responses } = await cas.batchUpdateBlobs(
      { instanceName, requests },
      { ...call, signal, timeoutMs: batchTimeout },
    );
    for (const { digest, status: told } of responses) {
      if (!told || told.code === status.OK) continue;
      const blob = batch.find(({ hash }) => hash === digest?.hash);
      if (blob && told.code === status.INVALID_ARGUMENT) throw new ChangedMeanwhile(blob);
      throw new CallError(told.code, told.message);
    }
  });
}

/** All bytes of a small blob; one that was cut short since is found by the store. */
async function bytesOf({ from, size }: BlobSource): Promise<Uint8Array> {
  if (from instanceof Uint8Array) return from;
  const file = await from();
  try {
    const data = Buffer.allocUnsafe(size);
    let length = 0;
    while (length < size) {
      const { bytesRead } = await file.read(data, length, size - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return data.subarray(0, length);
  } finally {
    await file.close();
  }
}

async function uploadLarge(
  { bytes, instance = '', edge, logger }: RemoteContent,
  blob: BlobSource,
  most: number,
  call: CallSettings,
  signal: AbortSignal,
  moved: (bytes: number) => void,
): Promise<void> {
  const resourceName = `${instance === '' ? '' : `${instance}/`}uploads/${edge.uuid()}/blobs/${blobText(blob)}`;
  let told = 0;
  const file = blob.from instanceof Uint8Array ? undefined : await blob.from();
  try {
    await retrying(signal, async (before, why) => {
      let offset = 0;
      if (before > 0) {
        const at = await bytes.queryWriteStatus({ resourceName }, { ...call, signal, timeoutMs: batchTimeout });
        if (at.complete) return;
        offset = Number(at.committedSize);
        logger.warn({ tries: before, blob: blobText(blob), from: offset, why }, 'uploading is gone on with');
      }
      try {
        const pieces = piecesOf(blob, file, resourceName, offset, most, (at) => {
          if (at > told) moved(at - told);
          told = Math.max(told, at);
        });
        const { committedSize } = await bytes.write(pieces, { ...call, signal });
        if (Number(committedSize) !== blob.size)
          throw new CallError(status.ABORTED, 'the store did not take all of it');
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (error.reason === 'DIGEST_MISMATCH' || error.reason === 'UPLOAD_TOO_SHORT') throw new ChangedMeanwhile(blob);
        // What the store knew of the upload is gone: it says from where to go on.
        throw error.reason === 'WRITE_GAP' ? new CallError(status.ABORTED, error.message) : error;
      }
    });
  } finally {
    await file?.close();
  }
}

async function* piecesOf(
  { from, size }: BlobSource,
  file: OpenBytes | undefined,
  resourceName: string,
  offset: number,
  most: number,
  sent: (at: number) => void,
) {
  for (let at = offset, first = true; first || at < size; first = false) {
    let data = from instanceof Uint8Array ? from.subarray(at, at + most) : new Uint8Array();
    if (file) {
      const piece = Buffer.allocUnsafeSlow(Math.min(most, size - at));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      data = piece.subarray(0, bytesRead);
    }
    const end = at + data.length;
    // One that was cut short ends here, and is found out.
    const finishWrite = end >= size || data.length === 0;
    yield { resourceName: first ? resourceName : '', writeOffset: BigInt(at), data, finishWrite };
    sent(end);
    at = end;
    if (finishWrite) return;
  }
}
