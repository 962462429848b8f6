import type { ReadModel } from '../../projections/read-model/read-model.js';
import { invalid, type MemoirError, quote } from '../domain/errors.js';
import { markedToken, unmarkedToken } from '../domain/generation.js';
import type { EventLog, Position } from '../eventstore/port.js';
import type { OwnWrites } from '../jobs/own-writes.js';
import type { CallContext } from './call.js';

/** Longest wait for the read model to come to a token, in milliseconds, where the client set no earlier deadline. */
const longestWait = 30_000;

/** What knows of which generation tokens are. */
type Generations = Pick<ReadModel, 'generation'>;

/** The consistency token of a write that ended at `position`. */
export function tokenOf(readModel: Generations, position: Position): string {
  return markedToken(readModel.generation(), String(position));
}

/**
 * Waits until the read model has what the token stands for; an empty token stands for nothing.
 * @throws MemoirError INVALID_ARGUMENT if the log has never given such a token, or gave it in an earlier generation; UNAVAILABLE if it
 * takes too long
 */
export async function seeToken(
  given: string,
  log: Pick<EventLog, 'end'>,
  readModel: ReadModel,
  call: CallContext,
): Promise<void> {
  if (given === '') return;
  const token = unmarkedToken(readModel.generation(), 'consistency_token', given);
  const position = Number(token);
  if (!/^\d{1,16}$/.test(token) || !Number.isSafeInteger(position)) throw noToken(token);
  if (position <= readModel.position()) return;
  if (position > (await log.end())) throw noToken(token);
  const timeout = AbortSignal.timeout(longestWait);
  const stop = new AbortController();
  const abort = () => stop.abort();
  timeout.addEventListener('abort', abort);
  call.signal.addEventListener('abort', abort);
  try {
    await readModel.waitFor(position, stop.signal);
  } finally {
    timeout.removeEventListener('abort', abort);
    call.signal.removeEventListener('abort', abort);
  }
}

/**
 * Waits, for a short time, until the read model has what the caller had recorded by this server. Gives an empty text if it has, else the
 * token of what the answer has at least.
 * @throws MemoirError UNAVAILABLE if the call ends first
 */
export async function seeOwn(written: OwnWrites, readModel: ReadModel, call: CallContext): Promise<string> {
  if (written.hasAllOf(call.caller.principal)) return '';
  return (await written.seesAllOf(call.caller.principal, () => call.signal))
    ? ''
    : tokenOf(readModel, readModel.position());
}

function noToken(token: string): MemoirError {
  return invalid('consistency_token', 'BAD_TOKEN', `consistency_token ${quote(token)} was not given by this log`);
}

/** A page token that holds some numbers. */
export function pageTokenOf(readModel: Generations, numbers: readonly number[]): string {
  return markedToken(readModel.generation(), encoded(numbers));
}

function encoded(numbers: readonly number[]): string {
  return Buffer.from(numbers.join(',')).toString('base64url');
}

/**
 * The `count` numbers that a page token holds; undefined for an empty token.
 * @throws MemoirError INVALID_ARGUMENT if it is no such token, or of an earlier generation of the log
 */
export function readPageToken(readModel: Generations, given: string, count: number): number[] | undefined {
  if (given === '') return undefined;
  const token = unmarkedToken(readModel.generation(), 'page_token', given);
  const numbers = Buffer.from(token, 'base64url').toString('latin1').split(',').map(Number);
  if (numbers.length !== count || !numbers.every(Number.isSafeInteger) || encoded(numbers) !== token) {
    throw invalid('page_token', 'BAD_TOKEN', `page_token ${quote(given)} was not given by this list`);
  }
  return numbers;
}

/**
 * The page size that was asked for; 100 for 0.
 * @throws MemoirError INVALID_ARGUMENT if it is more than 1,000
 */
export function checkPageSize(size: number): number {
  if (size > 1_000) throw invalid('page_size', 'OUT_OF_RANGE', `page_size ${size} is more than 1000`);
  return size || 100;
}
