import { type DescField, type DescMessage, type MessageShape, mergeFromBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { recursionLimit } from '../../domain/json.js';
import { emptyMessage, inOneLiteral } from '../../domain/messages/empty-messages.js';
import { remembering } from '../../domain/remembering.js';

/**
 * A message of its binary form, as `fromBinary` gives it, without fields that this version does not know; it and its parts are made in one literal where there is one.
 * @throws Error if the bytes are no such message, or it is nested too deep
 */
export function readMessage(schema: DescMessage, bytes: Uint8Array): MessageShape<DescMessage> {
  const field = partsOf(schema);
  if (!field) return mergeFromBinary(schema, emptyMessage(schema), bytes, { readUnknownFields: false, recursionLimit });
  const message = emptyMessage(schema);
  const parts = (message as unknown as Record<string, MessageShape<DescMessage>[]>)[field.localName];
  const reader = new BinaryReader(bytes);
  const inner = { readUnknownFields: false, recursionLimit: recursionLimit - 1 };
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field.number) {
      parts?.push(mergeFromBinary(field.message, emptyMessage(field.message), reader.bytes(), inner));
    } else reader.skip(wireType, number, recursionLimit - 1);
  }
  return message;
}

/** The field of a message that holds many of a kind that is made in one literal, and nothing else. */
const partsOf = remembering(({ fields }: DescMessage): (DescField & { readonly message: DescMessage }) | undefined => {
  const [field, ...others] = fields;
  const isList = field?.fieldKind === 'list' && field.listKind === 'message' && inOneLiteral.has(field.message);
  return isList && others.length === 0 ? field : undefined;
});
