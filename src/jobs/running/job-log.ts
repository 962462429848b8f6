import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type JobLogAppended, JobLogAppendedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../../domain/errors.js';
import { isFinished, stateName } from '../../domain/job.js';
import { jobLogStream, jobStream } from '../../domain/streams.js';
import { decodeEvent } from '../../eventstore/codec.js';
import { type RecordedEvent, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { type KeyedLock, keyedLock } from '../keyed-lock.js';
import { uuidFor } from '../reading/permit.js';
import { waker } from '../waker.js';

/** How often an append is tried again when another call appended to the same log first. */
const maxAttempts = 20;

/** How long a live log is. */
export type LogSize = {
  /** In bytes of UTF-8. */
  readonly size: number;
  /** Whether it has reached the limit. */
  readonly truncated: boolean;
};

/** A piece of a live log. */
export type LogPiece = {
  /** Offset of its first byte in the log's UTF-8 form. */
  readonly offset: number;
  readonly text: string;
  /** Milliseconds since 1970-01-01T00:00Z. */
  readonly recordedAt: number;
  /** Whether the log reached its limit here. */
  readonly truncated: boolean;
};

/** Live logs of jobs. */
export type JobLogs = {
  /**
   * Appends to the log of a running job; what goes beyond the limit is not kept.
   * @throws MemoirError NOT_FOUND, FAILED_PRECONDITION if the job is not running, PERMISSION_DENIED if another worker holds it
   */
  append(caller: Caller, uuid: string, text: string): Promise<LogSize>;
  /**
   * The log from byte `offset` on, and what comes until the job has finished or the signal aborts.
   * @throws MemoirError NOT_FOUND if there is no such job
   */
  tail(caller: Caller, uuid: string, offset: number, follow: boolean, signal: AbortSignal): AsyncGenerator<LogPiece>;
};

type End = LogSize & { readonly revision: number };

/** Makes the use cases AppendJobLog and TailJobLog. */
export function jobLogs(context: JobsContext): JobLogs {
  const serially: KeyedLock = keyedLock();
  return {
    append: (caller, uuid, text) =>
      serially(uuidFor(caller.access, context.readModel, uuid), () => append(context, caller, uuid, text)),
    tail: (caller, uuid, offset, follow, signal) => tail(context, caller, uuid, offset, follow, signal),
  };
}

async function append(context: JobsContext, caller: Caller, uuid: string, text: string): Promise<LogSize> {
  const { store, edge } = context;
  for (let i = 0; i < maxAttempts; i++) {
    await checkHeld(context, caller, uuid);
    const end = await endOfLog(context, uuid);
    if (end.truncated || text === '') return { size: end.size, truncated: end.truncated };
    const kept = cut(text, context.jobLogLimit - end.size);
    const truncated = kept.length < text.length;
    const event = create(JobLogAppendedSchema, {
      offset: BigInt(end.size),
      text: kept,
      truncated,
      appendedAt: timestampFromMs(edge.now()),
    });
    try {
      const expected = end.revision < 0 ? 'no_stream' : end.revision;
      await store.append(jobLogStream(uuid), expected, [eventOfCall(context, caller, event)]);
      return { size: end.size + Buffer.byteLength(kept), truncated };
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
  }
  throw new MemoirError('ABORTED', 'CONTENTION', `others append to the log of job ${uuid} all the time; try again`);
}

async function checkHeld({ streams }: JobsContext, caller: Caller, uuid: string): Promise<void> {
  const record = await streams.read(caller, uuid);
  const { state, claimedBy } = record.job;
  if (state !== JobState.RUNNING) {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'WRONG_STATE',
      `job ${uuid} is ${stateName(state)}; only a Running job has a log to append to`,
      { metadata: { uuid, state: stateName(state) } },
    );
  }
  if (claimedBy !== caller.principal) {
    throw new MemoirError('PERMISSION_DENIED', 'NOT_YOUR_JOB', `job ${uuid} was claimed by another worker`, {
      metadata: { uuid },
    });
  }
}

async function endOfLog({ store }: JobsContext, uuid: string): Promise<End> {
  for await (const recorded of store.readStream(jobLogStream(uuid), undefined, { direction: 'backwards', limit: 1 })) {
    const { offset, text, truncated } = decoded(recorded);
    return { size: Number(offset) + Buffer.byteLength(text), truncated, revision: recorded.revision };
  }
  return { size: 0, truncated: false, revision: -1 };
}

async function* tail(
  { store, readModel, streams }: JobsContext,
  caller: Caller,
  uuid: string,
  offset: number,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<LogPiece> {
  const changed = waker();
  const streamsOfJob = [jobStream(uuid), jobLogStream(uuid)];
  const unsubscribes = streamsOfJob.map((stream) => readModel.onChange(stream, changed.wake));
  try {
    let next = 0;
    for (;;) {
      const record = await streams.read(caller, uuid);
      for await (const recorded of store.readStream(jobLogStream(uuid), next)) {
        next = recorded.revision + 1;
        const piece = pieceFrom(decoded(recorded), offset, recorded.recordedAt);
        if (piece) yield piece;
      }
      if (!follow || isFinished(record.job.state) || signal.aborted) return;
      await changed.next(signal);
    }
  } finally {
    for (const unsubscribe of unsubscribes) unsubscribe();
  }
}

function pieceFrom(event: JobLogAppended, wanted: number, recordedAt: number): LogPiece | undefined {
  const offset = Number(event.offset);
  const bytes = Buffer.byteLength(event.text);
  if (offset + bytes <= wanted && !event.truncated) return undefined;
  if (offset >= wanted) return { offset, text: event.text, recordedAt, truncated: event.truncated };
  const utf8 = Buffer.from(event.text);
  const from = characterStart(utf8, Math.min(wanted - offset, bytes));
  return { offset: offset + from, text: utf8.subarray(from).toString('utf8'), recordedAt, truncated: event.truncated };
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

function decoded(recorded: RecordedEvent): JobLogAppended {
  return decodeEvent(recorded) as JobLogAppended;
}
