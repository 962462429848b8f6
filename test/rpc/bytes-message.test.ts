import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { BatchReadBlobsResponseSchema } from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ReadResponseSchema, WriteRequestSchema } from '../../gen/google/bytestream/bytestream_pb.js';
import { ReadOutputResponseSchema } from '../../gen/memoir/content/v1/content_service_pb.js';
import { GetJobResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { type BytesEncoding, bytesEncoding, listEncoding } from '../../src/rpc/wire/bytes-message.js';
import { lendAll } from '../../src/threads/lent.js';
import { memoryPool } from '../../src/threads/memory-pool.js';
import { isRoomy, roomBefore, roomy } from '../../src/threads/roomy.js';

const writing = bytesEncoding(WriteRequestSchema) as BytesEncoding;

/** Random bytes that have room in front, in memory that is full of something else. */
function inRoom(length: number, free?: (memory: ArrayBuffer) => void): Uint8Array<ArrayBuffer> {
  const memory = Buffer.allocUnsafeSlow(roomBefore + length + 10).fill(0xee).buffer as ArrayBuffer;
  const data = new Uint8Array(memory, roomBefore, length);
  data.set(randomBytes(length));
  return roomy(data, free);
}

test('a message is read as what it was, however large its bytes are, and whether they have room', (t) => {
  for (const length of [0, 1, 127, 128, 16_383, 16_384, 300_000, 3_000_000]) {
    for (const name of ['', 'n', 'n'.repeat(100), 'n'.repeat(roomBefore), 'n'.repeat(5_000)]) {
      for (const data of [new Uint8Array(randomBytes(length)), inRoom(length)]) {
        const before = Buffer.from(data);
        const message = create(WriteRequestSchema, { resourceName: name, writeOffset: 7n, data, finishWrite: true });
        const { bytes } = writing.frame(message);
        t.is(bytes.readUInt8(0), 0);
        t.is(bytes.readUInt32BE(1), bytes.length - 5);
        for (const form of [writing.encode(message), writing.frame(message).bytes.subarray(5)]) {
          const { data: read, ...rest } = fromBinary(WriteRequestSchema, form);
          t.true(before.equals(read));
          t.like(message, rest);
        }
        t.is(message.resourceName, name, 'nothing is taken out of what was given');
        t.true(before.equals(data));
      }
    }
  }
});

test('bytes that have room are not copied, and others in the same memory are', (t) => {
  const data = inRoom(100_000);
  const encoding = bytesEncoding(ReadResponseSchema) as BytesEncoding;
  t.is(encoding.frame(create(ReadResponseSchema, { data })).bytes.buffer, data.buffer);
  const part = data.subarray(10);
  t.false(isRoomy(part));
  const before = Buffer.from(data);
  t.not(encoding.frame(create(ReadResponseSchema, { data: part })).bytes.buffer, data.buffer);
  t.true(before.equals(data), 'what lies before the part is another’s');
  t.throws(() => roomy(new Uint8Array(new ArrayBuffer(100), 10)), { instanceOf: RangeError });
});

test('memory is given back once its message was sent, and once alone', (t) => {
  const given: ArrayBuffer[] = [];
  const data = inRoom(1_000, (memory) => given.push(memory));
  const { sent } = (bytesEncoding(ReadOutputResponseSchema) as BytesEncoding).frame(
    create(ReadOutputResponseSchema, { data }),
  );
  t.is(given.length, 0);
  sent();
  sent();
  t.deepEqual(given, [data.buffer]);
  t.is(bytesEncoding(GetJobResponseSchema), undefined, 'a message without bytes is none of these');
});

test('a list of messages with bytes is read as what it was', (t) => {
  const encoded = listEncoding(BatchReadBlobsResponseSchema);
  const digest = { hash: 'ab'.repeat(32), sizeBytes: 5n };
  for (const lengths of [[], [0], [5], [0, 1, 127, 128, 70_000], Array.from({ length: 500 }, (_, i) => i * 7)]) {
    const message = create(BatchReadBlobsResponseSchema, {
      responses: lengths.map((length, i) =>
        i % 5 === 4
          ? { digest, status: { code: 5, message: 'not here' } }
          : { digest, data: randomBytes(length), status: { code: 0 } },
      ),
    });
    const read = fromBinary(BatchReadBlobsResponseSchema, encoded?.(message).bytes.subarray(5) ?? new Uint8Array());
    t.true(
      Buffer.from(toBinary(BatchReadBlobsResponseSchema, read)).equals(toBinary(BatchReadBlobsResponseSchema, message)),
    );
  }
  t.is(listEncoding(ReadResponseSchema), undefined);
});

test('a pool keeps so many memories, of its size', (t) => {
  const pool = memoryPool(10, 2);
  const [a, b, c] = [pool.take(), pool.take(), pool.take()];
  for (const one of [a, new ArrayBuffer(9), b, c]) pool.give(one);
  t.deepEqual(
    [pool.take(), pool.take()].map((one) => one === a || one === b),
    [true, true],
  );
  t.not(pool.take(), c);
});

test('bytes that were lent are given back once they lie in a message, each memory when all of it was copied', (t) => {
  const encoded = listEncoding(BatchReadBlobsResponseSchema);
  const given: ArrayBuffer[] = [];
  const [one, other] = [new Uint8Array(new ArrayBuffer(300)).fill(1), new Uint8Array(new ArrayBuffer(200)).fill(2)];
  const parts = [one.subarray(0, 100), one.subarray(100), other];
  lendAll(parts, (memory) => given.push(memory));
  const digest = { hash: 'ab'.repeat(32), sizeBytes: 5n };
  const messageOf = (datas: readonly Uint8Array[]) =>
    create(BatchReadBlobsResponseSchema, { responses: datas.map((data) => ({ digest, data })) });
  encoded?.(messageOf(parts.slice(0, 1)));
  t.deepEqual(given, []);
  encoded?.(messageOf(parts.slice(1)));
  encoded?.(messageOf(parts));
  t.deepEqual(given, [one.buffer, other.buffer]);
});
