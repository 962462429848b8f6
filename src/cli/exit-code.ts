import { status } from '@grpc/grpc-js';
import { CommanderError } from 'commander';
import type { RequestError } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { MemoirError } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';

/** Exit codes of `memoir`. Documented in its help; scripts depend on them. */
export const exitCodes = {
  ok: 0,
  /** The job that was waited for failed or was cancelled. */
  jobFailed: 1,
  /** The command line, a file or the request is wrong. */
  usage: 2,
  /** There is no such job. */
  notFound: 3,
  /** The job is not in the state for it, or was changed meanwhile, or exists already. */
  precondition: 4,
  /** The caller may not. */
  permission: 5,
  /** The server cannot be reached, or cannot answer now. */
  unavailable: 6,
  /** What was checked is not what was recorded or signed. */
  damaged: 7,
  /** Nothing was found wrong, but nothing was proved either. */
  unproved: 8,
  /** A second run of a job gave another output, or two jobs differ. */
  differs: 9,
  /** A mistake in Memoir. */
  internal: 70,
} as const;

/** The exit codes as the help shows them. */
export const exitCodeHelp = `
Exit codes:
  0   success; when waiting for a job: it completed
  1   the job that was waited for failed or was cancelled
  2   the command line, a file or the request is wrong
  3   there is no such job
  4   the job is in the wrong state, was changed meanwhile, or exists already
  5   permission denied
  6   the server cannot be reached or cannot answer now
  7   what was checked is not what was recorded or signed
  8   nothing was found wrong, but nothing is proved either
  9   a second run of a job gave another output (memoir check), or two jobs differ (memoir diff)
  70  internal error`;

/** Reasons of RESOURCE_EXHAUSTED for which the request is what is wrong, and not the moment. */
export const requestReasons = ['MESSAGE_TOO_LARGE', 'LIST_TOO_LONG', 'ANSWER_TOO_LARGE'];

/** The exit code that tells of an error. */
export function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (error instanceof CallError && requestReasons.includes(error.reason)) return exitCodes.usage;
  if (error instanceof CallError) return ofStatus(status[error.code] ?? '');
  if (error instanceof MemoirError) return ofStatus(error.code);
  return exitCodes.internal;
}

/** The exit code that tells of the error of one request of many. */
export function exitCodeOfOne({ code, message, reason }: RequestError): number {
  return exitCode(new CallError(code, message, { reason }));
}

function ofStatus(name: string): number {
  switch (name) {
    case 'INVALID_ARGUMENT':
    case 'OUT_OF_RANGE':
      return exitCodes.usage;
    case 'NOT_FOUND':
      return exitCodes.notFound;
    case 'FAILED_PRECONDITION':
    case 'ABORTED':
    case 'ALREADY_EXISTS':
      return exitCodes.precondition;
    case 'PERMISSION_DENIED':
    case 'UNAUTHENTICATED':
      return exitCodes.permission;
    case 'DATA_LOSS':
      return exitCodes.damaged;
    case 'UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
    case 'RESOURCE_EXHAUSTED':
    case 'CANCELLED':
      return exitCodes.unavailable;
    default:
      return exitCodes.internal;
  }
}
