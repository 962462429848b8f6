import { MemoirError } from '../../domain/errors.js';
import type { SentError } from './reader-protocol.js';

/** What of an error can be sent to another thread. */
export function packError(error: unknown): SentError {
  if (error instanceof MemoirError) {
    const { message, code, reason, metadata } = error;
    return { message, memoir: { code, reason, metadata } };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}

/** The error that another thread sent. */
export function unpackError({ message, memoir }: SentError): Error {
  return memoir
    ? new MemoirError(memoir.code, memoir.reason, message, { metadata: memoir.metadata })
    : new Error(message);
}
