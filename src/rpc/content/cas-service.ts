import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import {
  BatchReadBlobsResponse_ResponseSchema,
  BatchReadBlobsResponseSchema,
  BatchUpdateBlobsResponseSchema,
  Compressor_Value,
  type ContentAddressableStorage,
  type Digest,
  FindMissingBlobsResponseSchema,
  GetTreeResponseSchema,
} from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { StatusSchema } from '../../../gen/google/rpc/status_pb.js';
import { type BlobName, blobName } from '../../content/blob-name.js';
import type { Blob } from '../../content/content.js';
import { treePages } from '../../content/tree-pages.js';
import { invalid, MemoirError } from '../../domain/errors.js';
import type { Implementation } from '../service.js';
import { meantForCaller } from '../status.js';
import { checkAsked, type RawAccess } from './raw-access.js';

/** Most blobs that are asked for at once. */
const mostAsked = 100_000;

type Status = MessageInitShape<typeof StatusSchema>;

/** Of what went well. */
const ok = create(StatusSchema, { code: status.OK });
const none = new Uint8Array();

/** build.bazel.remote.execution.v2.ContentAddressableStorage, for those who may have bytes by their address. */
export function casService(
  raw: RawAccess,
  batchBytes: number,
  logger: Logger,
): Implementation<typeof ContentAddressableStorage> {
  const statusOf = (error: unknown, requestId: string): Status => {
    const { code, message } = meantForCaller(error, requestId, logger);
    return { code: status[code], message };
  };

  return {
    async findMissingBlobs({ instanceName, digestFunction, blobDigests }, call) {
      const { content } = await raw.of(call);
      checkAsked(instanceName, digestFunction);
      checkCount('blob_digests', blobDigests.length);
      const names = blobDigests.map((digest, i) => blobName(`blob_digests[${i}]`, digest));
      const missing = new Set<string>();
      for (const { hash } of await content.missing(names)) missing.add(hash);
      // As they were asked for, each once.
      const told = blobDigests.filter(({ hash }) => missing.delete(hash));
      return create(FindMissingBlobsResponseSchema, { missingBlobDigests: told });
    },

    async batchUpdateBlobs({ instanceName, digestFunction, requests }, call) {
      const { content } = await raw.of(call);
      checkAsked(instanceName, digestFunction);
      checkCount('requests', requests.length);
      const given: { readonly digest: Digest | undefined; readonly blob: Blob; readonly error?: MemoirError }[] =
        requests.map(({ digest, data, compressor }, i) => ({
          digest,
          blob: { name: blobName(`requests[${i}].digest`, digest), data },
          ...(compressor !== Compressor_Value.IDENTITY && { error: compressed(`requests[${i}].compressor`) }),
        }));
      checkBatch(
        batchBytes,
        given.map(({ blob }) => blob.name),
      );
      const taken = given.filter(({ error }) => !error);
      const errors = await content.put(
        taken.map(({ blob }) => blob),
        { own: true },
      );
      const errorOf = new Map(taken.map((one, i) => [one, errors[i]]));
      return create(BatchUpdateBlobsResponseSchema, {
        responses: given.map((one) => {
          const error = one.error ?? errorOf.get(one);
          return {
            ...(one.digest && { digest: one.digest }),
            status: error ? create(StatusSchema, statusOf(error, call.caller.requestId)) : ok,
          };
        }),
      });
    },

    async batchReadBlobs({ instanceName, digestFunction, digests }, call) {
      const { content } = await raw.of(call);
      checkAsked(instanceName, digestFunction);
      checkCount('digests', digests.length);
      const names = digests.map((digest, i) => blobName(`digests[${i}]`, digest));
      checkBatch(batchBytes, names);
      const found = await content.get(names);
      const { requestId } = call.caller;
      const $typeName = BatchReadBlobsResponse_ResponseSchema.typeName;
      const compressor = Compressor_Value.IDENTITY;
      // As they are: the library would copy each.
      const responses = digests.map((digest, i) => {
        const one = found[i] as Uint8Array | MemoirError;
        if (!(one instanceof MemoirError)) return { $typeName, digest, data: one, status: ok, compressor };
        return { $typeName, digest, data: none, status: create(StatusSchema, statusOf(one, requestId)), compressor };
      });
      return { $typeName: BatchReadBlobsResponseSchema.typeName, responses };
    },

    async *getTree({ instanceName, digestFunction, rootDigest, pageSize, pageToken }, call) {
      const { content, check } = await raw.of(call);
      checkAsked(instanceName, digestFunction);
      const root = blobName('root_digest', rootDigest);
      for await (const { directories, nextPageToken } of treePages(content, root, { pageSize, pageToken })) {
        check();
        yield create(GetTreeResponseSchema, { directories: [...directories], nextPageToken });
      }
    },
  };
}

function checkCount(field: string, count: number): void {
  if (count > mostAsked) throw invalid(field, 'TOO_MANY', `${field} has ${count} entries, the limit is ${mostAsked}`);
}

function checkBatch(most: number, names: readonly BlobName[]): void {
  let bytes = 0;
  for (const { size } of names) bytes += size;
  if (bytes <= most) return;
  throw new MemoirError(
    'INVALID_ARGUMENT',
    'BATCH_TOO_LARGE',
    `the blobs have ${bytes} bytes together, and ${most} is the limit of a batch; use ByteStream for large ones`,
  );
}

function compressed(field: string): MemoirError {
  return invalid(field, 'NOT_COMPRESSED', `${field}: bytes are not compressed here`);
}
