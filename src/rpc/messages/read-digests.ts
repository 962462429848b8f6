import { type DescField, type DescMessage, type MessageShape, mergeFromBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import {
  BatchReadBlobsRequestSchema,
  type Digest,
  DigestSchema,
  FindMissingBlobsRequestSchema,
} from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { recursionLimit } from '../../domain/json.js';

// Requests that are many digests and little else, as clients of the Remote Execution API send them: thousands at once. The library makes a view of the bytes and more for each, which takes
// several times as long as what is done with it.

/** Field numbers and wire types of a Digest: `hash` and `size_bytes`. */
const hashTag = (1 << 3) | 2;
const sizeTag = 2 << 3;

/** Digits of a hash. */
const digits = 64;

const listOf = ({ fields }: DescMessage) => fields.find(({ message }) => message === DigestSchema) as DescField;

const lists: ReadonlyMap<DescMessage, DescField> = new Map(
  [FindMissingBlobsRequestSchema, BatchReadBlobsRequestSchema].map((schema) => [schema, listOf(schema)]),
);

/**
 * A message of a type that is little but digests, where its bytes are as clients write them: digests of a hash in 64 digits and a size, whatever stands beside them. undefined for other types, and for whatever
 * is not just so, which the library is to read. What it gives is what the library would.
 */
export function readDigests(
  schema: DescMessage,
  bytes: Uint8Array,
  empty: () => MessageShape<DescMessage>,
): MessageShape<DescMessage> | undefined {
  const field = lists.get(schema);
  if (!field) return undefined;
  const tag = (field.number << 3) | 2;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: Digest[] = [];
  const others: Uint8Array[] = [];
  for (let at = 0; at < buffer.length; ) {
    if (buffer[at] !== tag) {
      const end = endOfOther(buffer, at, field.number);
      if (end === undefined) return undefined;
      others.push(buffer.subarray(at, end));
      at = end;
      continue;
    }
    // A length that fits into one byte, the tag of the hash, its length.
    if (buffer[at + 2] !== hashTag || buffer[at + 3] !== digits) return undefined;
    const length = buffer[at + 1] as number;
    const end = at + 2 + length;
    const from = at + 4;
    at = from + digits;
    if (length > 127 || end > buffer.length || at > end) return undefined;
    let size = 0;
    if (at < end) {
      if (buffer[at++] !== sizeTag) return undefined;
      let more = true;
      for (let factor = 1; more; factor *= 128) {
        // A size of eight bytes is larger than any.
        if (at === end || factor > 2 ** 42) return undefined;
        const byte = buffer[at++] as number;
        size += (byte & 127) * factor;
        more = byte > 127;
      }
      if (at !== end) return undefined;
    }
    for (let i = from; i < from + digits; i++) if ((buffer[i] as number) > 127) return undefined;
    const hash = buffer.toString('latin1', from, from + digits);
    found.push({ $typeName: DigestSchema.typeName, hash, sizeBytes: BigInt(size) } as Digest);
  }
  const message = empty();
  if (others.length > 0) mergeFromBinary(schema, message, Buffer.concat(others), { readUnknownFields: false });
  (message as unknown as Record<string, readonly Digest[]>)[field.localName] = found;
  return message;
}

/** Where a field ends that is another one; undefined if it is not, or none. */
function endOfOther(bytes: Uint8Array, at: number, list: number): number | undefined {
  const reader = new BinaryReader(bytes);
  reader.pos = at;
  try {
    const [number, type] = reader.tag();
    reader.skip(type, number, recursionLimit - 1);
    return number === list ? undefined : reader.pos;
  } catch {
    return undefined;
  }
}
