import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { fromBinary } from '@bufbuild/protobuf';
import { type Status, StatusSchema } from '../../gen/google/rpc/status_pb.js';

/** What a call was answered with, as it came over the wire. */
export type WireAnswer = {
  /** Headers and trailers together. */
  readonly headers: IncomingHttpHeaders;
  readonly code: number;
  /** The details of the status, if it has any. */
  readonly status?: Status;
  /** Bytes of headers and trailers, as HTTP/2 counts them. */
  readonly headerBytes: number;
};

/** One message of a gRPC stream, with its prefix. */
export function framed(message: Uint8Array, compressed = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Sends a call as bytes, on a connection. Gives headers and trailers together. Fails if it is reset. */
export function callOn(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array,
  headers: OutgoingHttpHeaders = {},
): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    const call = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let all: IncomingHttpHeaders = {};
    const take = (more: IncomingHttpHeaders) => {
      all = { ...all, ...more };
    };
    call.on('response', take);
    call.on('trailers', take);
    call.on('error', reject);
    call.on('close', () => resolve(all));
    call.resume();
    call.end(body);
  });
}

/** Sends a call with an empty message, on a connection. Gives the number of its status; "" for none. */
export async function statusOn(
  session: ClientHttp2Session,
  path: string,
  headers?: OutgoingHttpHeaders,
): Promise<string> {
  const { 'grpc-status': status = '' } = await callOn(session, path, framed(Buffer.alloc(0)), headers);
  return String(status);
}

/** Sends a call as bytes, on a connection of its own. Fails if it is reset or the connection ends. */
export async function http2Call(
  address: string,
  path: string,
  body: Uint8Array,
  headers?: OutgoingHttpHeaders,
): Promise<WireAnswer> {
  const session = connect(`http://${address}`);
  const all = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
    session.on('error', reject);
    callOn(session, path, body, headers).then(resolve, reject);
  }).finally(() => session.close());
  const bin = all['grpc-status-details-bin'];
  let headerBytes = 0;
  for (const [name, value] of Object.entries(all)) headerBytes += name.length + String(value).length + 32;
  return {
    headers: all,
    code: Number(all['grpc-status']),
    headerBytes,
    ...(typeof bin === 'string' && { status: fromBinary(StatusSchema, Buffer.from(bin, 'base64')) }),
  };
}
