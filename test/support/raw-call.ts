import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { callError } from '../../src/rpc/call-error.js';

/** Calls a unary method with bytes that need be no message, and gives the bytes of the answer. Fails with a `CallError`. */
export function rawCall(
  address: string,
  path: string,
  bytes: Uint8Array,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure());
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  const same = (buffer: Buffer) => buffer;
  return new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      same,
      same,
      Buffer.from(bytes),
      sent,
      (error: ServiceError | null, answer?: Buffer) =>
        error ? reject(callError(error)) : resolve(answer ?? Buffer.alloc(0)),
    );
  }).finally(() => client.close());
}

/** A length-delimited field of the protobuf wire format. */
export function field(number: number, content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content as string);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

/** A `double` field of the protobuf wire format. */
export function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(number * 8 + 1), bytes]);
}

/** A `varint` of the protobuf wire format. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}
