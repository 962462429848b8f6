import { type DescField, type DescMessage, type MessageShape, mergeFromBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { MemoirError } from '../../domain/errors.js';
import { recursionLimit } from '../../domain/json.js';
import { emptyMessage, inOneLiteral } from '../../domain/messages/empty-messages.js';
import { remembering } from '../../domain/remembering.js';
import { readDigests } from './read-digests.js';
import { checkUnset } from './unset-values.js';

/**
 * Parts of a message that are read: ten times as many as any method takes. Two bytes are a part, and become an object of thirty fields, so that all
 * that fit into a request would take seconds and a gigabyte. Those behind are counted: each is the same empty message.
 */
const mostParts = 10_000;

/** Why parts cannot be taken that could be read. */
const refusals = new WeakMap<object, MemoirError>();

/**
 * Why a part of a message that `readMessage` gave cannot be taken, which is an error of this part alone: it has a google.protobuf.Value without a value.
 */
export const refusalOf = (part: object): MemoirError | undefined => refusals.get(part);

/**
 * A message of its binary form, as `fromBinary` gives it, without fields that this version does not know; it and its parts are made in one literal where there is one.
 * @throws MemoirError as `checkUnset`; Error if the bytes are no such message, or it is nested too deep
 */
export function readMessage(schema: DescMessage, bytes: Uint8Array): MessageShape<DescMessage> {
  const digests = readDigests(schema, bytes, () => emptyMessage(schema));
  if (digests) return digests;
  const field = partsOf(schema);
  if (!field) {
    const whole = mergeFromBinary(schema, emptyMessage(schema), bytes, { readUnknownFields: false, recursionLimit });
    checkUnset(schema, bytes, whole);
    return whole;
  }
  const message = emptyMessage(schema);
  const parts = (message as unknown as Record<string, MessageShape<DescMessage>[]>)[field.localName] ?? [];
  const reader = new BinaryReader(bytes);
  const beyond = emptyMessage(field.message);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field.number) {
      const own = reader.bytes();
      parts.push(parts.length < mostParts ? readPart(field.message, own) : beyond);
    } else reader.skip(wireType, number, recursionLimit - 1);
  }
  return message;
}

function readPart(schema: DescMessage, bytes: Uint8Array): MessageShape<DescMessage> {
  const inner = { readUnknownFields: false, recursionLimit: recursionLimit - 1 };
  const part = mergeFromBinary(schema, emptyMessage(schema), bytes, inner);
  try {
    checkUnset(schema, bytes, part);
  } catch (error) {
    if (!(error instanceof MemoirError)) throw error;
    refusals.set(part, error);
  }
  return part;
}

/** The field of a message that holds many of a kind that is made in one literal, and nothing else. */
const partsOf = remembering(({ fields }: DescMessage): (DescField & { readonly message: DescMessage }) | undefined => {
  const [field, ...others] = fields;
  const isList = field?.fieldKind === 'list' && field.listKind === 'message' && inOneLiteral.has(field.message);
  return isList && others.length === 0 ? field : undefined;
});
