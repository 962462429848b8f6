import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { type ErrorCode, MemoirError, quote } from '../../domain/errors.js';
import { type Status, statusOfKnown } from '../status.js';

/** Headers of an answer that is nothing but a status. */
const statusHeaders = {
  [constants.HTTP2_HEADER_STATUS]: constants.HTTP_STATUS_OK,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc+proto',
};

/** Answers a call with an error before grpc-js has seen it. */
export function refuse(stream: ServerHttp2Stream, error: MemoirError, requestId: string): void {
  stream.on('error', () => {
    // The client has gone; the stream closes by itself.
  });
  stream.respond({ ...statusHeaders, ...headersOf(statusOfKnown(error, requestId)) }, { endStream: true });
  // What the client still sends is not for anybody.
  stream.resume();
}

/** What a stream is given: its own method, which lies on its prototype. */
type Responding = { respond(headers?: OutgoingHttpHeaders, options?: object): void };
type Trailing = { sendTrailers(headers: OutgoingHttpHeaders): void };

/**
 * Gives the errors that grpc-js answers by itself the details that all others have, with a reason of their own, and those of bad
 * requests that it calls INTERNAL a better code. `requestId` tells that of the stream's call.
 */
export function detailErrors(stream: ServerHttp2Stream, requestId: string, path: string): void {
  stream.respond = function (this: ServerHttp2Stream, headers, options) {
    const given = headers && detailed(headers as OutgoingHttpHeaders, requestId, path);
    (Object.getPrototypeOf(this) as Responding).respond.call(this, given, options);
  };
  stream.sendTrailers = function (this: ServerHttp2Stream, trailers) {
    (Object.getPrototypeOf(this) as Trailing).sendTrailers.call(this, detailed(trailers, requestId, path));
  };
}

function detailed(headers: OutgoingHttpHeaders, requestId: string, path: string): OutgoingHttpHeaders {
  const code = headers['grpc-status'];
  if (!code || headers['grpc-status-details-bin'] !== undefined) return headers;
  const error = libraryError(Number(code), decodeMessage(String(headers['grpc-message'] ?? '')), path);
  return { ...headers, ...headersOf(statusOfKnown(error, requestId)) };
}

function headersOf({ code, details, metadata }: Status): OutgoingHttpHeaders {
  return { ...metadata.toHttp2Headers(), 'grpc-status': code, 'grpc-message': encodeURI(details) };
}

/** The error that grpc-js meant, by its code and message. */
function libraryError(code: number, message: string, path: string): MemoirError {
  const [, had, limit = ''] = /^Received message larger than max \((\d+) vs\.? (\d+)\)/.exec(message) ?? [];
  if (had !== undefined) return tooLarge(`${had} bytes`, limit);
  const [, unpacked] = /^Received message that decompresses to a size larger than (\d+)/.exec(message) ?? [];
  if (unpacked !== undefined) return tooLarge('more bytes, once it is decompressed,', unpacked);
  if (message === 'Failed to decompress message') {
    return new MemoirError('INVALID_ARGUMENT', 'MALFORMED_MESSAGE', 'the request is not compressed as it says');
  }
  const name = (status[code] ?? 'INTERNAL') as ErrorCode;
  if (name === 'UNIMPLEMENTED' && /method/.test(message) && !message.startsWith('Received')) {
    return new MemoirError('UNIMPLEMENTED', 'UNKNOWN_METHOD', `there is no method ${quote(path)}`);
  }
  return new MemoirError(name, name, message);
}

function tooLarge(size: string, limit = ''): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'MESSAGE_TOO_LARGE',
    `the request has ${size}, and ${limit} is the limit of this server`,
    { metadata: { limit } },
  );
}

function decodeMessage(text: string): string {
  try {
    return decodeURI(text);
  } catch {
    return text;
  }
}
