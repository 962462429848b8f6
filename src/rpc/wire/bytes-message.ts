import { type DescField, type DescMessage, type MessageShape, ScalarType, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { free, isRoomy, roomBefore } from '../../threads/roomy.js';

/** Bytes that stand before a message of a call: whether it is compressed, and its length. */
const prefixBytes = 5;

const none = new Uint8Array();

/** A message as it goes over HTTP/2. */
export type Frame = {
  readonly bytes: Buffer;
  /** To be called when the bytes have left the process and nobody looks at them any more, and only then. */
  readonly sent: () => void;
};

/** How the messages of a type are encoded that are little but the bytes in their field `data`. */
export type BytesEncoding = {
  /** The binary form. It may lie in the memory of the bytes, and is as long as that whatever they are. */
  encode(message: MessageShape<DescMessage>): Buffer;
  /** The same behind its prefix. */
  frame(message: MessageShape<DescMessage>): Frame;
};

/** The field `data` of bytes of a type. */
const dataOf = ({ fields }: DescMessage): DescField | undefined =>
  fields.find(({ name, scalar }) => name === 'data' && scalar === ScalarType.BYTES);

/**
 * How messages of a type are encoded that are little but a list of messages with bytes in their field `data`: all at once into as much memory as they take. undefined for types that are not.
 */
export function listEncoding(schema: DescMessage): ((message: MessageShape<DescMessage>) => Buffer) | undefined {
  for (const list of schema.fields) {
    const item = list.fieldKind === 'list' ? list.message : undefined;
    const field = item && dataOf(item);
    if (item && field) return (message) => encodeList(schema, list, message, item, field);
  }
  return undefined;
}

function encodeList(
  schema: DescMessage,
  { localName, number }: DescField,
  message: MessageShape<DescMessage>,
  item: DescMessage,
  field: DescField,
): Buffer {
  const rest = toBinary(schema, { ...message, [localName]: [] });
  const parts: Uint8Array[] = [rest];
  for (const one of (message as unknown as Record<string, MessageShape<DescMessage>[]>)[localName] ?? []) {
    const data = (one as unknown as Record<string, Uint8Array>)[field.localName] ?? none;
    const head = headOf(item, field, one, data.length);
    const before = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(head.length + data.length);
    parts.push(before.raw(head).finish(), data);
  }
  return Buffer.concat(parts);
}

/**
 * Encodes messages with large bytes without copying these twice, as the library does, or at all where they have room in front. undefined for types that
 * have no field `data` of bytes.
 */
export function bytesEncoding(schema: DescMessage): BytesEncoding | undefined {
  const field = dataOf(schema);
  if (!field) return undefined;
  const { localName } = field;
  const bytesIn = (message: MessageShape<DescMessage>) => (message as unknown as Record<string, Uint8Array>)[localName];

  function bytesOf(message: MessageShape<DescMessage>, before: number): Buffer {
    const data = bytesIn(message) ?? none;
    const head = headOf(schema, field as DescField, message, data.length);
    const length = head.length + data.length;
    const from = data.byteOffset - head.length - before;
    let bytes: Buffer;
    if (isRoomy(data) && head.length + before <= roomBefore) {
      bytes = Buffer.from(data.buffer, from, before + length);
    } else {
      bytes = Buffer.allocUnsafe(before + length);
      bytes.set(data, before + head.length);
    }
    bytes.set(head, before);
    return bytes;
  }

  return {
    encode: (message) => bytesOf(message, 0),
    frame(message) {
      const bytes = bytesOf(message, prefixBytes);
      bytes.writeUInt8(0, 0);
      bytes.writeUInt32BE(bytes.length - prefixBytes, 1);
      return { bytes, sent: () => free(bytesIn(message) ?? none) };
    },
  };
}

/** All of a message but its bytes, and what stands before these. */
function headOf(
  schema: DescMessage,
  { localName, number }: DescField,
  message: MessageShape<DescMessage>,
  length: number,
): Uint8Array {
  const rest = toBinary(schema, { ...message, [localName]: none });
  if (length === 0) return rest;
  return new BinaryWriter().raw(rest).tag(number, WireType.LengthDelimited).uint32(length).finish();
}
