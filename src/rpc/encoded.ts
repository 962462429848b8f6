import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';

/** A message in its binary form, made once to be sent in many calls. */
export class Encoded<Desc extends DescMessage> {
  readonly schema: Desc;
  readonly bytes: Buffer;

  constructor(schema: Desc, message: MessageShape<Desc>) {
    this.schema = schema;
    this.bytes = binary(schema, message);
  }
}

/** The binary form of what a handler gave: a message of the schema, or one that was encoded before. */
export function encode(schema: DescMessage, given: unknown): Buffer {
  return given instanceof Encoded ? given.bytes : binary(schema, given as MessageShape<DescMessage>);
}

function binary(schema: DescMessage, message: MessageShape<DescMessage>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
