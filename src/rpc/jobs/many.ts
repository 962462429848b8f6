import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { type RequestError, RequestErrorSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { MemoirError } from '../../domain/errors.js';
import { goneByItself } from '../call.js';

/** How many are worked on at the same time: so many share a commit of the store, and hold the event loop for some milliseconds. */
const atOnce = 64;

/**
 * Does the same with each of many, and gives what came of it, or the error, in their order. What nobody waits for any more is not begun.
 * `meant` makes of whatever one fails with what its caller is told.
 */
export async function each<T, R>(
  items: readonly T[],
  signal: AbortSignal,
  one: (item: T) => Promise<R>,
  meant: (error: unknown) => MemoirError,
): Promise<readonly (R | MemoirError)[]> {
  const outcomes: (R | MemoirError)[] = [];
  let next = 0;
  // What ended because nobody waits is nobody's fault.
  const told = (error: unknown) =>
    signal.aborted && error instanceof Error && error.name === 'AbortError' ? goneByItself(signal) : meant(error);
  async function lane(): Promise<void> {
    for (let i = next++; i < items.length; i = next++) {
      outcomes[i] = signal.aborted ? goneByItself(signal) : await one(items[i] as T).catch(told);
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  return outcomes;
}

/** An error as a part of an answer. */
export function requestError({ code, reason, message, field = '', metadata }: MemoirError): RequestError {
  return create(RequestErrorSchema, { code: status[code], message, reason, field, metadata: { ...metadata } });
}

/** Whether one of many failed. */
export function isError(outcome: unknown): outcome is MemoirError {
  return outcome instanceof MemoirError;
}
