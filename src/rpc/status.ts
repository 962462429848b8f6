import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { Metadata, type ServerErrorResponse, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import { MemoirError } from '../domain/errors.js';
import { LogRefused, StoreUnavailable } from '../eventstore/port.js';

/** Domain of the ErrorInfo in every status. */
export const errorDomain = 'memoir';

/** Longest message in a status: all of it travels in HTTP/2 headers, of which clients accept 16 KiB. */
const maxMessage = 2_000;

/**
 * The gRPC status of an error, with google.rpc.Status details. What was not meant for the caller is logged and becomes INTERNAL
 * with the request id alone.
 */
export function statusOf(error: unknown, requestId: string, logger: Logger): Partial<ServerErrorResponse> {
  const known = meantForCaller(error, requestId, logger);
  const code = status[known.code];
  const message =
    known.message.length > maxMessage ? `${known.message.slice(0, maxMessage).toWellFormed()}…` : known.message;
  const details = [
    anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { reason: known.reason, domain: errorDomain, metadata: { ...known.metadata } }),
    ),
    anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId })),
  ];
  if (known.code === 'INVALID_ARGUMENT' && known.field !== undefined) {
    const violation = { field: known.field, description: message, reason: known.reason };
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [violation] })));
  }
  const metadata = new Metadata();
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
  metadata.set('grpc-status-details-bin', Buffer.from(bytes));
  return { code, details: message, metadata };
}

/** What callers are told while the log is one that the server must not go on with. Another server may be able to. */
export function logRefused({ reason, message }: LogRefused): MemoirError {
  return new MemoirError('UNAVAILABLE', reason, message);
}

function meantForCaller(error: unknown, requestId: string, logger: Logger): MemoirError {
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
