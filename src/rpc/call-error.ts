import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack, durationMs } from '@bufbuild/protobuf/wkt';
import type { ServiceError, status } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';

/** A call that the server refused or that never reached it. */
export class CallError extends Error {
  /** The gRPC status code. */
  readonly code: status;
  /** The stable word of the server's ErrorInfo; empty if the answer had none, as when there was no server. */
  readonly reason: string;
  /** Further facts of the ErrorInfo. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Request fields that are wrong, in the spelling of the proto. */
  readonly fields: readonly string[];
  /** In how many milliseconds it is worth trying again; undefined if the server does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: status,
    message: string,
    details: Partial<Pick<CallError, 'reason' | 'metadata' | 'fields' | 'retryAfterMs'>> = {},
  ) {
    super(message);
    this.name = 'CallError';
    this.code = code;
    this.reason = details.reason ?? '';
    this.metadata = details.metadata ?? {};
    this.fields = details.fields ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** What grpc-js reported, with the server's google.rpc.Status details if it sent any that can be read. */
export function callError(error: ServiceError): CallError {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const message = error.details || error.message;
  if (!Buffer.isBuffer(bytes)) return new CallError(error.code, message);
  try {
    const detailed = fromBinary(StatusSchema, bytes);
    let reason = '';
    let metadata = {};
    let retryAfterMs: number | undefined;
    const fields: string[] = [];
    for (const any of detailed.details) {
      const info = anyUnpack(any, ErrorInfoSchema);
      if (info) ({ reason, metadata } = info);
      const retry = anyUnpack(any, RetryInfoSchema)?.retryDelay;
      if (retry) retryAfterMs = durationMs(retry);
      const bad = anyUnpack(any, BadRequestSchema);
      if (bad) fields.push(...bad.fieldViolations.map(({ field }) => field));
    }
    return new CallError(error.code, detailed.message || message, { reason, metadata, fields, retryAfterMs });
  } catch {
    return new CallError(error.code, message);
  }
}
