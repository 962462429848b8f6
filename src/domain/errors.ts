/** The gRPC status codes that Memoir's own errors use. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'RESOURCE_EXHAUSTED'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED'
  | 'UNIMPLEMENTED'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'OUT_OF_RANGE'
  | 'INTERNAL';

/** What a `MemoirError` may say beside its message. */
export type ErrorDetails = {
  /** Request field that is wrong, in the spelling of the proto: `script_version`, `runtime_constraints.docker_image`. */
  readonly field?: string;
  /** Further facts for programs, such as the states of a refused transition. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** In how many milliseconds it is worth trying again, where that is known. */
  readonly retryAfterMs?: number;
  /** What brought it about; goes to the server's log, never to the client. */
  readonly cause?: unknown;
};

/**
 * An error that is meant for the caller. `reason` is a stable word in upper case, the `reason` of google.rpc.ErrorInfo; the
 * message names the offending value.
 */
export class MemoirError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly field: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, reason: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'MemoirError';
    this.code = code;
    this.reason = reason;
    this.field = details.field;
    this.metadata = details.metadata ?? {};
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** An INVALID_ARGUMENT for one request field. */
export function invalid(field: string, reason: string, message: string): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', reason, message, { field });
}

/** Whether an error says that the event store never takes as much at once as was to be recorded. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof MemoirError && error.reason === 'EVENT_TOO_LARGE';
}

/**
 * The INVALID_ARGUMENT for a repository that is not configured. One that the caller may not know of is refused by the same, so that
 * the two cannot be told apart.
 */
export function unknownRepository(name: string): MemoirError {
  return invalid('repository', 'UNKNOWN_REPOSITORY', `repository ${quote(name)} is not configured`);
}

/** What was thrown, which may be anything, as text: never empty, and never "undefined". */
export function messageOf(thrown: unknown): string {
  if (typeof thrown === 'string' && thrown) return thrown;
  if (typeof thrown !== 'object' || thrown === null)
    return `${String(thrown) || 'nothing'} was thrown, which is no error`;
  const { message, errors, code, name } = thrown as Partial<AggregateError & { readonly code: unknown }>;
  if (message && typeof message === 'string') return message;
  // Node gives the failures of several addresses of one name without a text of their own.
  if (Array.isArray(errors) && errors.length > 0) return errors.map(messageOf).join('; ');
  return String(code ?? (name || 'an error without a message'));
}

/**
 * The text in double quotes with control, format and other invisible characters escaped, cut to `limit` characters, so that a
 * hostile value can be named in a message without breaking a log line or a terminal.
 */
export function quote(text: string, limit = 200): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  const escaped = JSON.stringify(cut.toWellFormed()).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escapeUnits);
  return text.length > limit ? `${escaped} (${text.length} characters)` : escaped;
}

/** The UTF-16 code units of a text as JSON escapes. */
function escapeUnits(text: string): string {
  return Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join(
    '',
  );
}
