import { status } from '@grpc/grpc-js';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../../../gen/google/bytestream/bytestream_pb.js';
import { type BlobName, blobText } from '../../../content/blob-name.js';
import { MemoirError, messageOf, quote } from '../../../domain/errors.js';
import type { ContentUrl } from '../../../domain/outputs/content-url.js';
import { CallError } from '../../call-error.js';
import { type ClientOf, connect } from '../../client.js';

/** A store of content elsewhere, and how to call it. */
export type CalledCas = {
  readonly instance: string;
  readonly cas: ClientOf<typeof ContentAddressableStorage>;
  readonly bytes: ClientOf<typeof ByteStream>;
  /** Most bytes of the blobs of one batch. */
  batchBytes(): Promise<number>;
  /** What an error of a call is to whoever asked for content. */
  told(error: unknown): MemoirError;
  close(): void;
};

/** How long one call may take that is no transfer, in milliseconds. */
export const callTimeout = 30_000;

/** Bytes of a batch where a store names no limit of its own, and the most that are sent: a message has to take them. */
const mostInBatch = 2 * 1024 * 1024;

/**
 * Opens a connection to a store at its first call.
 * @param ca of the authority that vouches for its certificate, as PEM; those of the system unless given
 */
export function callCas({ address, tls, instance }: ContentUrl, ca?: Buffer): CalledCas {
  const connection = connect(address, 'memoir', { tls: tls && ca ? { ca } : tls });
  const capabilities = connection.service(Capabilities);
  let most: number | undefined;
  return {
    instance,
    cas: connection.service(ContentAddressableStorage),
    bytes: connection.service(ByteStream),
    async batchBytes() {
      if (most !== undefined) return most;
      const { cacheCapabilities } = await capabilities.getCapabilities(
        { instanceName: instance },
        { timeoutMs: callTimeout },
      );
      most = Math.min(Number(cacheCapabilities?.maxBatchTotalSizeBytes ?? 0n) || mostInBatch, mostInBatch);
      return most;
    },
    told(error) {
      if (error instanceof MemoirError) return error;
      if (error instanceof CallError && isFull(error)) {
        return new MemoirError('RESOURCE_EXHAUSTED', 'CONTENT_FULL', 'no room is left for content', { cause: error });
      }
      const message = messageOf(error);
      const hint = tls ? tlsHint(message) : undefined;
      const why = hint === undefined ? message : `${hint} (${message})`;
      return unavailable(new Error(`content store at ${quote(address)}: ${why}`, { cause: error }));
    },
    close: () => connection.close(),
  };
}

/** What operators have to mend where TLS is not agreed on; undefined where that is not what is wrong. */
function tlsHint(message: string): string | undefined {
  if (/altnames|does not match certificate/i.test(message)) {
    return 'its certificate is for other names than this address: name it by one of those';
  }
  if (/certificate has expired|not yet valid/i.test(message)) return 'its certificate is not valid at this time';
  if (/self.signed|unable to (get|verify)|issuer certificate/i.test(message)) {
    return 'no authority that is trusted here vouches for its certificate: give that in the setting content.ca';
  }
  if (/wrong version number|packet length too long|EPROTO/i.test(message))
    return 'it does not speak TLS: call it as grpc://';
  return undefined;
}

/** Whether a store has no room: buildbox-casd calls that INTERNAL, and says in its message what it is. */
function isFull({ code, message }: CallError): boolean {
  if (code === status.RESOURCE_EXHAUSTED) return true;
  return code === status.INTERNAL && /\bout ?of ?space|no space left/i.test(message);
}

/** The error for a store that does not answer as it should, which a client cannot mend. */
export function unavailable(cause: Error): MemoirError {
  return new MemoirError('UNAVAILABLE', 'CONTENT_UNAVAILABLE', 'content cannot be read or written now; try again', {
    cause,
  });
}

/** Names of a blob where bytes are read, and written under what the upload is called. */
export const downloadName = (instance: string, blob: BlobName): string => `${prefix(instance)}blobs/${blobText(blob)}`;
export const uploadName = (instance: string, upload: string, blob: BlobName): string =>
  `${prefix(instance)}uploads/${upload}/blobs/${blobText(blob)}`;

const prefix = (instance: string): string => (instance === '' ? '' : `${instance}/`);
