import { type ErrorDetails, MemoirError } from '../../domain/errors.js';
import { sharedRunsFormat } from '../../domain/log-format.js';

/** The error for what is asked for where it is not known yet that all servers understand runs that are shared and tried again. */
export function needsSharedRuns(what: string, details?: ErrorDetails): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'LOG_FORMAT_NOT_ALLOWED',
    `${what} needs log format ${sharedRunsFormat}, which may not be recorded here; once every server of the store knows it, allow it by the ` +
      'setting log_format',
    details,
  );
}
