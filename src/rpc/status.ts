import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack, durationFromMs } from '@bufbuild/protobuf/wkt';
import { Metadata, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import { MemoirError } from '../domain/errors.js';
import { LogRefused, StoreUnavailable } from '../eventstore/port.js';

/** Domain of the ErrorInfo in every status. */
export const errorDomain = 'memoir';

/**
 * Most bytes of headers that an error may take, as HTTP/2 counts them. All of a status travels in them, its message up to three times,
 * and a client such as grpc-java takes no more than 8 KiB of them by default; proxies add their own.
 */
const maxHeaderBytes = 6 * 1024;

/** Bytes of headers that an error has beside its message and details: status, type and date, with what HTTP/2 counts for each. */
const otherHeaderBytes = 400;

/** Longest message and value of metadata, in UTF-16 code units, from the longest on until the status fits into its headers. */
const lengths = [2_000, 1_400, 1_000, 700, 400, 200, 100, 50] as const;

/** How long a client should wait before it tries again, in milliseconds. */
const retryDelay = 1_000;

/** Reasons of RESOURCE_EXHAUSTED that are the same however often it is tried. */
const hopeless = /_TOO_(LARGE|LONG)$|^TOO_MANY_ROWS$/;

/** A status as grpc-js sends it. */
export type Status = { readonly code: status; readonly details: string; readonly metadata: Metadata };

/**
 * The gRPC status of an error, with google.rpc.Status details. What was not meant for the caller is logged and becomes INTERNAL
 * with the request id alone.
 */
export function statusOf(error: unknown, requestId: string, logger: Logger): Status {
  return statusOfKnown(meantForCaller(error, requestId, logger), requestId);
}

/** The gRPC status of an error that is meant for the caller, cut to what all clients take. `requestId` may be empty. */
export function statusOfKnown(error: MemoirError, requestId: string): Status {
  for (const length of lengths) {
    const made = cutStatus(error, requestId, length);
    if (made) return made;
  }
  const { code, reason, message } = error;
  return cutStatus(new MemoirError(code, reason, message), requestId, 50, true) as Status;
}

/** The status with no text longer than so many UTF-16 code units; undefined if it does not fit into its headers. */
function cutStatus(error: MemoirError, requestId: string, length: number, whatever = false): Status | undefined {
  const code = status[error.code];
  const message = cut(error.message, length);
  const info = { reason: error.reason, domain: errorDomain, metadata: cutAll(error.metadata, length) };
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info))];
  if (requestId !== '') details.push(anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId })));
  if (error.code === 'INVALID_ARGUMENT' && error.field !== undefined) {
    const violation = { field: cut(error.field, length), description: message, reason: error.reason };
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [violation] })));
  }
  if (error.code === 'UNAVAILABLE' || (error.code === 'RESOURCE_EXHAUSTED' && !hopeless.test(error.reason))) {
    const delay = durationFromMs(error.retryAfterMs ?? retryDelay);
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: delay })));
  }
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
  // The bytes travel in base64, the message with everything that is not ASCII as three characters a byte.
  const size = otherHeaderBytes + Math.ceil(bytes.length / 3) * 4 + encodeURI(message).length;
  if (size > maxHeaderBytes && !whatever) return undefined;
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(bytes));
  return { code, details: message, metadata };
}

/** What callers are told while the log is one that the server must not go on with. Another server may be able to. */
export function logRefused({ reason, message }: LogRefused): MemoirError {
  return new MemoirError('UNAVAILABLE', reason, message);
}

/** The text if it is no longer than so many UTF-16 code units, else its beginning. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length).toWellFormed()}…` : text.toWellFormed();
}

function cutAll(values: Readonly<Record<string, string>>, length: number): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, cut(value, length)]));
}

/** The error as its caller may know it. What was not meant for the caller is logged and becomes INTERNAL with the request id alone. */
export function meantForCaller(error: unknown, requestId: string, logger: Logger): MemoirError {
  if (error instanceof MemoirError) {
    if (error.cause !== undefined) logger.warn({ err: error, requestId }, error.message);
    return error;
  }
  if (error instanceof LogRefused) return logRefused(error);
  logger.error({ err: error, requestId }, 'a call failed');
  if (error instanceof StoreUnavailable) {
    return new MemoirError(
      'UNAVAILABLE',
      'STORE_UNAVAILABLE',
      'the event store cannot be used now; try again, a CreateJob with the same submit_id',
    );
  }
  return new MemoirError(
    'INTERNAL',
    'INTERNAL',
    `internal error; the server's log has it under request id ${requestId}`,
  );
}
