import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import test from 'ava';
import fc from 'fast-check';
import {
  CreateJobRequestSchema,
  CreateJobsRequestSchema,
  GetJobRequestSchema,
} from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { recursionLimit } from '../../src/domain/json.js';
import { readMessage, refusalOf } from '../../src/rpc/messages/read-message.js';

const options = { readUnknownFields: false, recursionLimit };
const request = fc.record(
  {
    repository: fc.string(),
    priority: fc.integer({ min: 0, max: 100 }),
    scriptParameters: fc.dictionary(fc.string(), fc.double({ noNaN: true })),
    labels: fc.dictionary(fc.string(), fc.string()),
    codePaths: fc.array(fc.string()),
  },
  { requiredKeys: [] },
);

test('messages are read as the library reads them', (t) => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 5 }), (requests) => {
      const many = toBinary(CreateJobsRequestSchema, create(CreateJobsRequestSchema, { requests }));
      t.deepEqual(readMessage(CreateJobsRequestSchema, many), fromBinary(CreateJobsRequestSchema, many, options));
      const [first = {}] = requests;
      const one = toBinary(CreateJobRequestSchema, create(CreateJobRequestSchema, first));
      t.deepEqual(readMessage(CreateJobRequestSchema, one), fromBinary(CreateJobRequestSchema, one, options));
    }),
  );
  const other = toBinary(GetJobRequestSchema, create(GetJobRequestSchema, { uuid: 'u' }));
  t.deepEqual(readMessage(GetJobRequestSchema, other), fromBinary(GetJobRequestSchema, other, options));
});

test('bytes that are no message for the library are none, and what else is read is what it reads', (t) => {
  // A part that says that it is longer than it is reads on behind its end there; here it is refused.
  const read = (bytes: Uint8Array) => {
    try {
      return readMessage(CreateJobsRequestSchema, bytes);
    } catch {
      return undefined;
    }
  };
  const valid = toBinary(CreateJobsRequestSchema, create(CreateJobsRequestSchema, { requests: [{ script: 's' }, {}] }));
  t.truthy(read(valid));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
          const changed = Uint8Array.from(valid);
          changed[at] = byte;
          return changed;
        }),
        fc.nat(valid.length).map((length) => valid.subarray(0, length)),
      ),
      (bytes) => {
        const message = read(bytes);
        if (message) t.deepEqual(message, fromBinary(CreateJobsRequestSchema, bytes, options));
      },
    ),
    { numRuns: 300 },
  );
});

test('parts may be nested as deep as in the library, and no deeper', (t) => {
  const nested = (levels: number): Uint8Array => {
    let value = new BinaryWriter().tag(4, WireType.Varint).bool(true).finish();
    for (let i = 0; i < levels; i++) {
      const list = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(value).finish();
      value = new BinaryWriter().tag(6, WireType.LengthDelimited).bytes(list).finish();
    }
    const entry = new BinaryWriter()
      .tag(1, WireType.LengthDelimited)
      .string('n')
      .tag(2, WireType.LengthDelimited)
      .bytes(value);
    const struct = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(entry.finish()).finish();
    const { number } = CreateJobRequestSchema.field.scriptParameters;
    const one = new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(struct).finish();
    return new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(one).finish();
  };
  const taken = (read: (bytes: Uint8Array) => unknown) => (levels: number) => {
    try {
      read(nested(levels));
      return true;
    } catch {
      return false;
    }
  };
  const ours = taken((bytes) => readMessage(CreateJobsRequestSchema, bytes));
  const library = taken((bytes) => fromBinary(CreateJobsRequestSchema, bytes, options));
  const levels = Array.from({ length: recursionLimit + 10 }, (_, i) => i);
  t.deepEqual(levels.map(ours), levels.map(library));
  t.deepEqual([...new Set(levels.map(library))], [true, false]);
});

test('of parts without number all are counted, and no more are made than any method takes ten times over', (t) => {
  const parts = 1_500_000;
  const bytes = new Uint8Array(2 * parts);
  for (let i = 0; i < bytes.length; i += 2) bytes[i] = 0x0a;
  const { requests } = readMessage(CreateJobsRequestSchema, bytes) as unknown as { requests: object[] };
  t.is(requests.length, parts);
  t.is(new Set(requests).size, 10_001);
});

test('a Value without a value is an error of its part alone', (t) => {
  const part = (value: Uint8Array) => {
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string('n');
    entry.tag(2, WireType.LengthDelimited).bytes(value);
    const struct = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(entry.finish()).finish();
    const { number } = CreateJobRequestSchema.field.scriptParameters;
    return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(struct).finish();
  };
  const isNull = new BinaryWriter().tag(1, WireType.Varint).int32(0).finish();
  const writer = new BinaryWriter();
  for (const value of [isNull, new Uint8Array(), isNull]) writer.tag(1, WireType.LengthDelimited).bytes(part(value));
  const { requests } = readMessage(CreateJobsRequestSchema, writer.finish()) as unknown as { requests: object[] };
  t.deepEqual(
    requests.map((one) => refusalOf(one)?.reason),
    [undefined, 'UNSET_VALUE', undefined],
  );
  t.is(refusalOf(requests[1] as object)?.field, 'script_parameters');
  t.throws(() => readMessage(CreateJobRequestSchema, part(new Uint8Array())), {
    message: /script_parameters at "\/n"/,
  });
});
