import { create } from '@bufbuild/protobuf';
import {
  type ByteStream,
  QueryWriteStatusResponseSchema,
  ReadResponseSchema,
  type WriteRequest,
  WriteResponseSchema,
} from '../../../gen/google/bytestream/bytestream_pb.js';
import type { Uploaded } from '../../content/content.js';
import { downloadOf, type Resource, uploadOf } from '../../content/resource-name.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import type { Implementation } from '../service.js';
import { blobPieces } from './blob-pieces.js';
import type { RawAccess } from './raw-access.js';

/** google.bytestream.ByteStream, of blobs, for those who may have bytes by their address. */
export function byteStreamService(raw: RawAccess): Implementation<typeof ByteStream> {
  return {
    async *read({ resourceName, readOffset, readLimit }, call) {
      const { content, check } = await raw.of(call);
      const blob = downloadOf(resourceName);
      const offset = within('read_offset', readOffset, blob.size);
      const limit = within('read_limit', readLimit, Number.MAX_SAFE_INTEGER);
      for await (const data of blobPieces(content, blob, { offset, limit }, check)) {
        yield create(ReadResponseSchema, { data });
      }
    },

    async write(requests, call) {
      const { content, check } = await raw.of(call);
      let resource: Resource | undefined;
      let name = '';
      let offset = 0;
      let last: Uploaded | undefined;
      for await (const request of requests) {
        check();
        if (!resource) {
          resource = uploadOf(request.resourceName);
          name = request.resourceName;
          offset = within('write_offset', request.writeOffset, resource.size);
        } else {
          checkNext(request, name, offset, last);
        }
        const { data, finishWrite: finish } = request;
        const { length } = data;
        last = await content.write({ name: resource, upload: resource.upload, offset, data, finish });
        offset += length;
        // Whether by this call or another: nothing more of it is needed.
        if (last.complete) break;
      }
      if (!resource || !last) {
        throw invalid('resource_name', 'REQUIRED', 'resource_name is required: the stream held no message');
      }
      if (!last.complete) last = await content.uploaded(resource, resource.upload);
      return create(WriteResponseSchema, { committedSize: BigInt(last.committed) });
    },

    async queryWriteStatus({ resourceName }, call) {
      const { content } = await raw.of(call);
      const resource = uploadOf(resourceName);
      const { committed, complete } = await content.uploaded(resource, resource.upload);
      return create(QueryWriteStatusResponseSchema, { committedSize: BigInt(committed), complete });
    },
  };
}

function checkNext(request: WriteRequest, name: string, offset: number, last: Uploaded | undefined): void {
  if (request.resourceName !== '' && request.resourceName !== name) {
    throw invalid(
      'resource_name',
      'RESOURCE_CHANGED',
      `resource_name ${quote(request.resourceName)} is not ${quote(name)}, with which the stream began`,
    );
  }
  if (request.writeOffset !== BigInt(offset)) {
    throw invalid(
      'write_offset',
      'WRITE_GAP',
      `write_offset ${request.writeOffset} is not ${offset}, where the message before ended; ${last?.committed ?? 0} bytes are kept`,
    );
  }
}

/** @throws MemoirError OUT_OF_RANGE naming the value */
function within(field: string, value: bigint, most: number): number {
  if (value >= 0n && value <= BigInt(most)) return Number(value);
  throw new MemoirError('OUT_OF_RANGE', 'OUT_OF_RANGE', `${field} ${value} is not between 0 and ${most}`, { field });
}
