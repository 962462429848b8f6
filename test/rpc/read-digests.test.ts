import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import {
  BatchReadBlobsRequestSchema,
  Compressor_Value,
  type Digest,
  DigestFunction_Value,
  FindMissingBlobsRequestSchema,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { emptyMessage } from '../../src/domain/messages/empty-messages.js';
import { readDigests } from '../../src/rpc/messages/read-digests.js';
import { readMessage } from '../../src/rpc/messages/read-message.js';

const digest = fc.record({
  hash: fc.oneof(
    {
      weight: 5,
      arbitrary: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((one) => Buffer.from(one).toString('hex')),
    },
    fc.string({ unit: 'binary', maxLength: 70 }),
    fc.constant('é'.repeat(32)),
  ),
  sizeBytes: fc.oneof(fc.bigInt(0n, 2n ** 20n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
});
const digests = fc.array(digest, { maxLength: 6 });
const messages = fc.oneof(
  fc
    .record({ digests, instanceName: fc.constantFrom('', 'x'), digestFunction: fc.constantFrom(...[0, 1, 9]) })
    .map(({ digests: blobDigests, ...rest }) => ({
      schema: FindMissingBlobsRequestSchema,
      message: create(FindMissingBlobsRequestSchema, { blobDigests: blobDigests as Digest[], ...rest }),
    })),
  fc.record({ digests, some: fc.constantFrom([], [Compressor_Value.ZSTD]) }).map(({ digests: all, some }) => ({
    schema: BatchReadBlobsRequestSchema,
    message: create(BatchReadBlobsRequestSchema, { digests: all as Digest[], acceptableCompressors: [...some] }),
  })),
);

/** What is read, or that it cannot be. */
const outcome = (read: () => unknown): unknown => {
  try {
    return read();
  } catch {
    return 'unreadable';
  }
};

test('requests of many digests are read as the library reads them, and so is whatever else their bytes are', (t) => {
  fc.assert(
    fc.property(
      messages,
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      fc.nat(255),
      ({ schema, message }, where, byte) => {
        const bytes = toBinary<typeof schema>(schema, message as never);
        const altered = Uint8Array.from(bytes);
        if (altered.length > 0) altered[Math.floor(where * altered.length)] = byte;
        for (const one of [bytes, altered, altered.subarray(0, Math.floor(where * altered.length))]) {
          t.deepEqual(
            outcome(() => readMessage(schema, one)),
            outcome(() => fromBinary<typeof schema>(schema, one, { readUnknownFields: false })),
          );
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('what clients write is read at once', (t) => {
  const all = Array.from({ length: 1_000 }, (_, i) => ({
    hash: randomBytes(32).toString('hex'),
    sizeBytes: BigInt(Math.floor(2 ** (i / 21))),
  }));
  const message = create(FindMissingBlobsRequestSchema, { blobDigests: all });
  const bytes = toBinary(FindMissingBlobsRequestSchema, message);
  const empty = () => emptyMessage(FindMissingBlobsRequestSchema);
  t.deepEqual(readDigests(FindMissingBlobsRequestSchema, bytes, empty), message);
  const named = create(FindMissingBlobsRequestSchema, { ...message, digestFunction: DigestFunction_Value.SHA256 });
  t.deepEqual(readDigests(FindMissingBlobsRequestSchema, toBinary(FindMissingBlobsRequestSchema, named), empty), named);
});
