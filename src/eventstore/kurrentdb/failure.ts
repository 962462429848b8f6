import { ErrorType, type WrongExpectedVersionError } from '@kurrent/kurrentdb-client';
import { MemoirError } from '../../domain/errors.js';
import {
  LogRefused,
  StoreUnavailable,
  StoreUnreachable,
  StoreUnreadable,
  StreamDeleted,
  WrongExpectedRevision,
} from '../port.js';

/**
 * What an error of the client means: the stream is elsewhere, there is no such stream, the request can never succeed as it is, the
 * node is not the leader and did nothing, or it may work the next time.
 */
export type Failure = 'wrong_revision' | 'no_stream' | 'refused' | 'not_leader' | 'transient';

const failures: Readonly<Record<string, Failure>> = {
  [ErrorType.WRONG_EXPECTED_VERSION]: 'wrong_revision',
  [ErrorType.STREAM_NOT_FOUND]: 'no_stream',
  [ErrorType.ACCESS_DENIED]: 'refused',
  [ErrorType.STREAM_DELETED]: 'refused',
  [ErrorType.STREAM_TOMBSTONED]: 'refused',
  [ErrorType.MAXIMUM_APPEND_SIZE_EXCEEDED]: 'refused',
  [ErrorType.MISSING_REQUIRED_METADATA_PROPERTY]: 'refused',
  [ErrorType.INVALID_ARGUMENT]: 'refused',
  [ErrorType.NOT_LEADER]: 'not_leader',
};

/** What an error that the client threw means. */
export function failureOf(error: unknown): Failure {
  return failures[typeOf(error)] ?? (isInvalidPosition(error) || isBadRequest(error) ? 'refused' : 'transient');
}

/** How the client words an error of an append that it does not know: before what the server says. */
const unrecognized = 'Could not recognize ';

/** Whether the server says that an append could never be taken, such as one of an event without a type. */
const isBadRequest = (error: unknown): boolean =>
  error instanceof Error && error.message === `${unrecognized}BadRequest`;

/** Whether the server says that the log has nothing that begins at the position. */
export function isInvalidPosition(error: unknown): boolean {
  return error instanceof Error && /invalid ?position/i.test(error.message);
}

/**
 * Whether the client cannot be trusted to mend its connection after the error by itself. It does so after an outage or a change of
 * leader; after an answer that did not come, or a failed discovery, which it remembers for ever, it needs to be replaced.
 */
export function breaksClient(error: unknown): boolean {
  const type = typeOf(error);
  return type !== ErrorType.UNAVAILABLE && type !== ErrorType.NOT_LEADER;
}

/** The last revision that a refused append found; -1 if the stream has no event. */
export function actualRevision(error: unknown): number {
  const { actualState } = error as WrongExpectedVersionError;
  // The server's "none" is the biggest 64-bit number on some paths.
  return typeof actualState === 'bigint' && actualState <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(actualState) : -1;
}

/** The error for a store that could not do something. `what` is such as "append to stream …". */
export function unavailable(address: string, what: string, error: unknown): Error {
  if (error instanceof Error && isFinal(error)) return error;
  const deleted = [ErrorType.STREAM_DELETED, ErrorType.STREAM_TOMBSTONED].some((type) => typeOf(error) === type);
  const away = failureOf(error) === 'refused' ? StoreUnavailable : StoreUnreachable;
  const Kind = deleted ? StreamDeleted : away;
  return new Kind(`KurrentDB at ${address} cannot ${what}: ${reasonOf(error)}`, error);
}

/** The most bytes that the server takes in one append, if that is what it refused one for. */
export function sizeLimitOf(error: unknown): number | undefined {
  if (typeOf(error) !== ErrorType.MAXIMUM_APPEND_SIZE_EXCEEDED) return undefined;
  return (error as { readonly maxAppendSize?: number }).maxAppendSize ?? Number.NaN;
}

/** Whether an error was made by this code, which knows that another attempt is of no use. */
export function isFinal(error: unknown): boolean {
  return finals.some((kind) => error instanceof kind);
}

const finals = [StoreUnavailable, StoreUnreadable, WrongExpectedRevision, TypeError, MemoirError, LogRefused];

/** An answer that did not come in time. */
export class NoAnswer extends Error {
  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
    this.name = 'NoAnswer';
  }
}

/** Why it failed, in words. */
export function reasonOf(error: unknown): string {
  switch (typeOf(error)) {
    case ErrorType.ACCESS_DENIED:
      return 'it refuses the credentials, or wants some, or the user may not do this';
    case ErrorType.STREAM_DELETED:
    case ErrorType.STREAM_TOMBSTONED:
      return 'the stream was deleted there';
    case ErrorType.MAXIMUM_APPEND_SIZE_EXCEEDED: {
      const { maxAppendSize } = error as { maxAppendSize?: number };
      return `it takes at most ${maxAppendSize} bytes in one append; its option MaxAppendSize must be raised`;
    }
    default:
      return messageOf(error);
  }
}

/** Whether the client says of an error no more than that no node was reached, or none answered. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof NoAnswer || typeOf(error) === ErrorType.UNAVAILABLE || /discover/.test(messageOf(error));
}

/** What the client says of an error, in words. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message === 'UnavailableError' || message === '') return 'it cannot be reached';
  if (message.startsWith(unrecognized)) return `it says "${message.slice(unrecognized.length)}"`;
  // The words of grpc-js, of which most is about itself.
  const [, why] = /No connection established\. Last error: (?:Error: )?(.*?)\. Resolution note: /.exec(message) ?? [];
  return why === undefined ? message : `it cannot be reached: ${why}`;
}

function typeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'type' in error ? String(error.type) : '';
}
