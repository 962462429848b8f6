import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type JobLogAppended, JobLogAppendedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type Attempt, attemptsOf, unheard } from '../../domain/attempt.js';
import { invalid, isTooLarge, MemoirError } from '../../domain/errors.js';
import { isFinished, type JobRecord, stateName } from '../../domain/job.js';
import { jobLogStream, jobStream } from '../../domain/streams.js';
import { judged, lastFirst } from '../../eventstore/foreign.js';
import { type RecordedEvent, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { contended, maxAttempts } from '../contention.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { type KeyedLock, keyedLock } from '../keyed-lock.js';
import { uuidFor } from '../reading/permit.js';
import { waker } from '../waker.js';

/**
 * Most bytes of UTF-8 in one event; what is longer becomes several. Each may be a control character, which JSON spells in six, and
 * stores take events up to about 1 MiB.
 */
export const maxEventBytes = 128 * 1024;

/** To how few bytes a piece is cut where a store does not take it. */
const leastEventBytes = 1024;

/** How long the live log of an attempt is. */
export type LogSize = {
  /** In bytes of UTF-8. */
  readonly size: number;
  /** Whether it has reached the limit. */
  readonly truncated: boolean;
};

/** What a worker appends to a live log. */
export type NewPiece = {
  readonly uuid: string;
  readonly text: string;
  /** Offset of its first byte in the UTF-8 form of the attempt's log; undefined for the end as it is. */
  readonly offset: number | undefined;
  /** SHA-256 of the claim token that came with it, in hexadecimal digits; undefined if none did. */
  readonly tokenDigest: string | undefined;
};

/** Where a live log is read from: a byte of an attempt's. */
export type LogStart = { readonly attempt: number; readonly offset: number };

/** A piece of a live log. */
export type LogPiece = {
  /** Number of the attempt whose output it is. */
  readonly attempt: number;
  /** Offset of its first byte in the UTF-8 form of the attempt's log. */
  readonly offset: number;
  /** Empty where another attempt than the first begins. */
  readonly text: string;
  /** Milliseconds since 1970-01-01T00:00Z. */
  readonly recordedAt: number;
  /** Whether the log reached its limit here. */
  readonly truncated: boolean;
};

/** Live logs of jobs: one after the other those of their attempts. */
export type JobLogs = {
  /**
   * Appends to the log of the attempt that runs a job, but for what the log has of the piece already; what goes beyond the limit is not kept.
   * @throws MemoirError NOT_FOUND; FAILED_PRECONDITION if the job is not running, the token is that of another attempt, or the piece
   * begins behind the end of the log (LOG_GAP); PERMISSION_DENIED if another worker holds the job
   */
  append(caller: Caller, piece: NewPiece): Promise<LogSize>;
  /**
   * The log from a byte of an attempt's on, those of later attempts whole, and what comes until the job has finished or the signal aborts.
   * @throws MemoirError NOT_FOUND if there is no such job
   */
  tail(caller: Caller, uuid: string, start: LogStart, follow: boolean, signal: AbortSignal): AsyncGenerator<LogPiece>;
};

type End = LogSize & { readonly revision: number; readonly id: string };

/** Makes the use cases AppendJobLog and TailJobLog. */
export function jobLogs(context: JobsContext): JobLogs {
  const serially: KeyedLock = keyedLock();
  return {
    append: (caller, piece) =>
      serially(uuidFor(caller.access, context.readModel, piece.uuid), () => append(context, caller, piece)),
    tail: (caller, uuid, start, follow, signal) => tail(context, caller, uuid, start, follow, signal),
  };
}

async function append(context: JobsContext, caller: Caller, piece: NewPiece): Promise<LogSize> {
  const first = await checkHeld(context, caller, piece);
  let end = await endOfLog(context, piece.uuid, numberOf(first));
  let left = end.truncated ? '' : missing(piece, end.size);
  let most = maxEventBytes;
  for (let record = first; ; record = await checkHeld(context, caller, piece)) {
    if (end.truncated || left === '') return { size: end.size, truncated: end.truncated };
    const next = cut(left, most);
    try {
      end = await appendOne(context, caller, piece, record, next, end);
      left = left.slice(next.length);
    } catch (error) {
      // A store that takes less at once than stores usually do.
      if (!isTooLarge(error) || most <= leastEventBytes) throw error;
      most /= 2;
    }
  }
}

/** Appends one event, again and again while other calls append first, and gives the new end. */
async function appendOne(
  context: JobsContext,
  caller: Caller,
  { uuid, offset }: NewPiece,
  record: JobRecord,
  text: string,
  known: End,
): Promise<End> {
  const { store, edge } = context;
  const begin = known.size;
  const attempt = numberOf(record);
  let end = known;
  let id = '';
  for (let i = 0; i < maxAttempts; i++) {
    // What an append whose answer got lost has recorded all the same is not recorded again.
    if (end.truncated || (id !== '' && end.id === id)) return end;
    const rest = offset === undefined ? text : missing({ text, offset: begin }, end.size);
    if (rest === '') return end;
    const kept = cut(rest, context.jobLogLimit - end.size);
    const truncated = kept.length < rest.length;
    const event = create(JobLogAppendedSchema, {
      offset: BigInt(end.size),
      text: kept,
      truncated,
      appendedAt: timestampFromMs(edge.now()),
      attempt,
    });
    const encoded = eventOfCall(context, caller, event);
    id = encoded.id;
    try {
      const expected = end.revision < 0 ? 'no_stream' : end.revision;
      const { revision } = await store.append(jobLogStream(uuid), expected, [encoded]);
      return { size: end.size + Buffer.byteLength(kept), truncated, revision, id };
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
    end = await endOfLog(context, uuid, attempt);
  }
  throw contended(`others append to the log of job ${uuid}`);
}

/**
 * What a log of `size` bytes lacks of a piece.
 * @throws MemoirError FAILED_PRECONDITION if the piece begins behind the log's end; INVALID_ARGUMENT if the log ends inside one of its
 * characters, so that it is no repetition
 */
function missing({ text, offset }: Pick<NewPiece, 'text' | 'offset'>, size: number): string {
  if (offset === undefined || offset === size) return text;
  if (offset > size) {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'LOG_GAP',
      `the piece begins at offset ${offset}, and the log has ${size} bytes; go on from there`,
      { field: 'offset', metadata: { size: String(size) } },
    );
  }
  const bytes = Buffer.from(text);
  const there = size - offset;
  if (there >= bytes.length) return '';
  if (characterStart(bytes, there) !== there) {
    throw invalid(
      'offset',
      'BAD_OFFSET',
      `offset ${offset} is wrong: the log ends at ${size}, inside a character of the piece`,
    );
  }
  return bytes.subarray(there).toString('utf8');
}

/** The job, if the piece is of the attempt that runs it. */
async function checkHeld(
  { streams }: JobsContext,
  caller: Caller,
  { uuid, tokenDigest }: Pick<NewPiece, 'uuid' | 'tokenDigest'>,
): Promise<JobRecord> {
  const record = await streams.read(caller, uuid);
  const foreign = unheard(record, { worker: caller.principal, tokenDigest });
  const { state } = record.job;
  if (state !== JobState.RUNNING && foreign?.reason !== 'ATTEMPT_ENDED') {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'WRONG_STATE',
      `job ${uuid} is ${stateName(state)}; only a Running job has a log to append to`,
      { metadata: { uuid, state: stateName(state) } },
    );
  }
  if (foreign) throw foreign;
  return record;
}

/** Number of the attempt that runs a job. */
function numberOf({ attempt }: JobRecord): number {
  return attempt?.number ?? 1;
}

/**
 * The end of an attempt's log, from which it begins where it has none yet.
 * @throws MemoirError ATTEMPT_ENDED if the log of a later attempt has begun
 */
async function endOfLog({ store }: JobsContext, uuid: string, attempt: number): Promise<End> {
  let last: { readonly revision: number; readonly id: string } | undefined;
  for await (const recorded of lastFirst(store, jobLogStream(uuid))) {
    last ??= { revision: recorded.revision, id: recorded.id };
    const piece = decoded(recorded);
    if (!piece) continue;
    const of = attemptOfPiece(piece);
    if (of > attempt) {
      throw new MemoirError(
        'FAILED_PRECONDITION',
        'ATTEMPT_ENDED',
        `attempt ${attempt} of job ${uuid} has ended: attempt ${of} writes its log now`,
        { metadata: { uuid, attempt: String(attempt) } },
      );
    }
    if (of < attempt) break;
    return { ...last, size: Number(piece.offset) + Buffer.byteLength(piece.text), truncated: piece.truncated };
  }
  return { size: 0, truncated: false, revision: last?.revision ?? -1, id: last?.id ?? '' };
}

async function* tail(
  { store, readModel, streams }: JobsContext,
  caller: Caller,
  uuid: string,
  start: LogStart,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<LogPiece> {
  const changed = waker();
  const streamsOfJob = [jobStream(uuid), jobLogStream(uuid)];
  const unsubscribes = streamsOfJob.map((stream) => readModel.onChange(stream, changed.wake));
  // Of the first one nobody needs to be told that it begins.
  let told = Math.max(start.attempt, 1);
  /** Where the attempts begin that were not told of. */
  function* beginnings(attempts: readonly Attempt[], upTo: number): Generator<LogPiece> {
    for (const { number, startedAt } of attempts) {
      if (number <= told || number > upTo) continue;
      told = number;
      const recordedAt = startedAt ? timestampMs(startedAt) : 0;
      yield { attempt: number, offset: 0, text: '', recordedAt, truncated: false };
    }
  }
  try {
    let next = 0;
    for (;;) {
      const record = await streams.read(caller, uuid);
      const attempts = attemptsOf(record);
      for await (const recorded of store.readStream(jobLogStream(uuid), next)) {
        const event = decoded(recorded);
        // Of an attempt that began since the job was read it is told when the job is read again.
        if (event && attemptOfPiece(event) > Math.max(numberOf(record), 1)) break;
        next = recorded.revision + 1;
        const piece = event && pieceFrom(event, start, recorded.recordedAt);
        if (!piece) continue;
        yield* beginnings(attempts, piece.attempt);
        yield piece;
      }
      yield* beginnings(attempts, Number.POSITIVE_INFINITY);
      if (!follow || isFinished(record.job.state) || signal.aborted) return;
      await changed.next(signal);
    }
  } finally {
    for (const unsubscribe of unsubscribes) unsubscribe();
  }
}

/** Older versions recorded no number, and there was one attempt. */
function attemptOfPiece({ attempt }: JobLogAppended): number {
  return attempt || 1;
}

function pieceFrom(event: JobLogAppended, start: LogStart, recordedAt: number): LogPiece | undefined {
  const { text, truncated } = event;
  const attempt = attemptOfPiece(event);
  if (attempt < start.attempt) return undefined;
  const wanted = attempt === Math.max(start.attempt, 1) ? start.offset : 0;
  const offset = Number(event.offset);
  const bytes = Buffer.byteLength(text);
  if (offset + bytes <= wanted && !truncated) return undefined;
  if (offset >= wanted) return { attempt, offset, text, recordedAt, truncated };
  const utf8 = Buffer.from(text);
  const from = characterStart(utf8, Math.min(wanted - offset, bytes));
  return { attempt, offset: offset + from, text: utf8.subarray(from).toString('utf8'), recordedAt, truncated };
}

/** The longest beginning of the text that has at most `limit` bytes of UTF-8 and ends between characters. */
function cut(text: string, limit: number): string {
  if (text.length * 3 <= limit) return text;
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  return bytes.subarray(0, characterStart(bytes, Math.max(limit, 0))).toString('utf8');
}

/** The offset at which the character begins that `offset` is in: bytes of UTF-8 that begin with the bits 10 continue one. */
function characterStart(utf8: Buffer, offset: number): number {
  let at = offset;
  while (at > 0 && at < utf8.length && ((utf8[at] as number) & 0xc0) === 0x80) at--;
  return at;
}

/** The piece of the log; undefined for what no Memoir wrote, or is malformed. */
function decoded(recorded: RecordedEvent): JobLogAppended | undefined {
  return judged(recorded).event as JobLogAppended | undefined;
}
