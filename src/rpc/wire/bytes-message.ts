import { type DescField, type DescMessage, type MessageShape, ScalarType, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { passed } from '../../threads/garbage.js';
import { giveBack } from '../../threads/lent.js';
import { letGo } from '../../threads/let-go.js';
import { free, isRoomy, roomBefore } from '../../threads/roomy.js';

/** Bytes that stand before a message of a call: whether it is compressed, and its length. */
export const prefixBytes = 5;

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
 * How messages of a type go over HTTP/2 that are little but a list of messages with bytes in their field `data`: all at once into memory of its own, which is let go of when they were sent. Bytes that
 * were lent are given back. undefined for types that are not.
 */
export function listEncoding(schema: DescMessage): ((message: MessageShape<DescMessage>) => Frame) | undefined {
  for (const list of schema.fields) {
    const item = list.fieldKind === 'list' ? list.message : undefined;
    const field = item && dataOf(item);
    if (item && field) return (message) => encodeList(schema, list, message, field);
  }
  return undefined;
}

/**
 * All but the bytes is encoded at once, since a writer for each message costs more than copying its bytes; then each message is made longer by its bytes, behind what else it has.
 */
function encodeList(
  schema: DescMessage,
  { localName, number }: DescField,
  message: MessageShape<DescMessage>,
  field: DescField,
): Frame {
  const list = (message as unknown as Record<string, Record<string, Uint8Array>[]>)[localName] ?? [];
  const rest = list.map((one) => ({ ...one, [field.localName]: none }));
  const heads = toBinary(schema, { ...message, [localName]: rest });
  const tag = tagOf(field.number);
  let most = heads.length;
  for (const one of list) most += (one[field.localName]?.length ?? 0) + longestTag + 2 * longestLength;
  const bytes = Buffer.allocUnsafeSlow(prefixBytes + most);
  let at = prefixBytes;
  let next = 0;
  const reader = new BinaryReader(heads);
  for (let from = 0; reader.pos < reader.len; from = reader.pos) {
    const [no, type] = reader.tag();
    if (no !== number || type !== WireType.LengthDelimited) {
      reader.skip(type, no);
      bytes.set(heads.subarray(from, reader.pos), at);
      at += reader.pos - from;
      continue;
    }
    const tagged = reader.pos;
    const length = reader.uint32();
    const head = reader.pos;
    reader.pos += length;
    const data = list[next++]?.[field.localName] ?? none;
    bytes.set(heads.subarray(from, tagged), at);
    at += tagged - from;
    const more = data.length === 0 ? 0 : tag.length + lengthOf(data.length) + data.length;
    at = writeLength(bytes, at, length + more);
    bytes.set(heads.subarray(head, reader.pos), at);
    at += length;
    if (data.length === 0) continue;
    bytes.set(tag, at);
    at = writeLength(bytes, at + tag.length, data.length);
    bytes.set(data, at);
    at += data.length;
    giveBack(data);
  }
  return { bytes: prefixed(bytes.subarray(0, at)), sent: () => letGo(bytes.buffer) };
}

/** Writes what stands before a message into the room that it has. */
function prefixed(bytes: Buffer): Buffer {
  bytes.writeUInt8(0, 0);
  bytes.writeUInt32BE(bytes.length - prefixBytes, 1);
  return bytes;
}

/** Most bytes of the number of a field, and of a length. */
const longestTag = 5;
const longestLength = 5;

const tagOf = (number: number): Uint8Array => new BinaryWriter().tag(number, WireType.LengthDelimited).finish();

/** Bytes that a length takes, and the length itself, in base 128 with the lowest digits first. */
function lengthOf(length: number): number {
  let bytes = 1;
  for (let left = length; left > 127; left = Math.floor(left / 128)) bytes++;
  return bytes;
}

/** @returns where the next byte goes */
function writeLength(bytes: Uint8Array, at: number, length: number): number {
  let next = at;
  let left = length;
  for (; left > 127; left = Math.floor(left / 128)) bytes[next++] = (left % 128) + 128;
  bytes[next++] = left;
  return next;
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
      passed(bytes.length);
    }
    bytes.set(head, before);
    return bytes;
  }

  return {
    encode: (message) => bytesOf(message, 0),
    frame(message) {
      const bytes = prefixed(bytesOf(message, prefixBytes));
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
