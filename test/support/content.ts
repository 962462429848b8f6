import { createHash, randomUUID } from 'node:crypto';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  Capabilities,
  ContentAddressableStorage,
  DirectorySchema,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream, type WriteRequestSchema } from '../../gen/google/bytestream/bytestream_pb.js';
import { connect } from '../../src/rpc/client.js';

/** The services of content as a principal calls them over a connection of its own. */
export function contentClient(address: string, principal: string) {
  const connection = connect(address, principal);
  return {
    cas: connection.service(ContentAddressableStorage),
    bytes: connection.service(ByteStream),
    capabilities: connection.service(Capabilities),
    close: () => connection.close(),
  };
}

/** SHA-256 in hexadecimal digits. */
export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** The Digest of bytes. */
export const digestOf = (data: Uint8Array) => ({ hash: sha256(data), sizeBytes: BigInt(data.length) });

/** Names of a resource. */
export const download = (data: Uint8Array): string => `blobs/${sha256(data)}/${data.length}`;
export const upload = (data: Uint8Array, uuid: string = randomUUID()): string => `uploads/${uuid}/${download(data)}`;

/** The messages of an upload, from `from` on, in pieces of so many bytes. */
export function* writes(
  resourceName: string,
  data: Uint8Array,
  { from = 0, size = 256 * 1024, finish = true } = {},
): Generator<MessageInitShape<typeof WriteRequestSchema>> {
  for (let at = from; at < data.length; at += size) {
    const piece = data.subarray(at, at + size);
    const last = at + piece.length === data.length;
    yield {
      resourceName: at === from ? resourceName : '',
      writeOffset: BigInt(at),
      data: piece,
      finishWrite: finish && last,
    };
  }
}

/** A Directory in bytes, as a blob. */
export function directory(init: MessageInitShape<typeof DirectorySchema>): Uint8Array {
  return toBinary(DirectorySchema, create(DirectorySchema, init));
}
