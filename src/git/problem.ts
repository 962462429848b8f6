import { MemoirError, quote } from '../domain/errors.js';

/** A repository whose files are not what git writes; names the repository and what is wrong. */
export function damaged(repository: string, what: string, cause?: unknown): MemoirError {
  return new MemoirError('DATA_LOSS', 'REPOSITORY_DAMAGED', `repository ${quote(repository)} is damaged: ${what}`, {
    metadata: { repository },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A repository that cannot be read at the moment, such as one on a disk that is not mounted. */
export function unavailable(repository: string, what: string, cause?: unknown): MemoirError {
  return new MemoirError('UNAVAILABLE', 'REPOSITORY_UNAVAILABLE', `repository ${quote(repository)}: ${what}`, {
    metadata: { repository },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The errno of a failed system call, such as `ENOENT`; undefined for any other error. */
export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
