import type { AppendJobLogRequest } from '../../../gen/memoir/worker/v1/worker_service_pb.js';
import { claimTokenDigest } from '../../domain/claim-token.js';
import { invalid, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';
import { checkLength, checkUuid } from '../limits.js';
import { type JobLogs, type LogSize, maxEventBytes, type NewPiece } from './job-log.js';

/** Longest piece of a live log in one message, in bytes of UTF-8. */
const maxPiece = 1024 * 1024;

/** Most pieces that wait to be recorded before the next message is read. */
const mostWaiting = 8;

/**
 * Appends the pieces of one call to a live log. While one is recorded, those that arrive are gathered and recorded as one event. What
 * came before something wrong, or before the call broke, is kept.
 * @throws MemoirError naming what is wrong with a message, or as `JobLogs.append` does
 */
export async function appendUpload(
  logs: Pick<JobLogs, 'append'>,
  caller: Caller,
  requests: AsyncIterable<AppendJobLogRequest>,
): Promise<LogSize> {
  const gathered = gatherer((piece) => logs.append(caller, piece));
  let before: NewPiece | undefined;
  try {
    for await (const request of requests) {
      before = pieceOf(request, before);
      await gathered.add(before);
    }
  } catch (error) {
    await gathered.end().catch(() => undefined);
    throw error;
  }
  const size = await gathered.end();
  if (!size) throw invalid('uuid', 'REQUIRED', 'uuid is required: the stream held no message');
  return size;
}

/** The piece in a message that follows the one before. */
function pieceOf(request: AppendJobLogRequest, before: NewPiece | undefined): NewPiece {
  const { text } = request;
  const uuid = request.uuid === '' && before ? before.uuid : checkUuid('uuid', request.uuid);
  if (before && uuid !== before.uuid) {
    throw invalid('uuid', 'UUID_CHANGED', `uuid ${uuid} is not ${before.uuid}, with which the stream began`);
  }
  const given = claimTokenDigest(request.claimToken);
  if (before && given !== undefined && given !== before.tokenDigest) {
    throw invalid('claim_token', 'TOKEN_CHANGED', 'claim_token is not the one with which the stream began');
  }
  checkLength('text', text, maxPiece);
  const offset = request.offset === undefined ? before && endOf(before) : Number(request.offset);
  if (offset !== undefined && offset > Number.MAX_SAFE_INTEGER - maxPiece) {
    throw invalid('offset', 'OUT_OF_RANGE', `offset ${quote(String(request.offset))} is beyond any log`);
  }
  return { uuid, text, offset, tokenDigest: before ? before.tokenDigest : given };
}

/** Where the piece after this one begins; undefined if it goes to the end of the log, wherever that is. */
function endOf({ offset, text }: NewPiece): number | undefined {
  return offset === undefined ? undefined : offset + Buffer.byteLength(text);
}

function gatherer(append: (piece: NewPiece) => Promise<LogSize>) {
  const waiting: NewPiece[] = [];
  let running: Promise<void> | undefined;
  let size: LogSize | undefined;
  let failure: { readonly error: unknown } | undefined;

  async function run(): Promise<void> {
    try {
      for (let next = waiting.shift(); next; next = waiting.shift()) size = await append(next);
    } catch (error) {
      failure = { error };
    }
    running = undefined;
  }

  return {
    /** Takes a piece, when not too many wait. @throws what a piece before was refused with */
    async add(piece: NewPiece): Promise<void> {
      while (waiting.length >= mostWaiting && running) await running;
      if (failure) throw failure.error;
      const last = waiting.at(-1);
      if (last && joins(last, piece)) waiting[waiting.length - 1] = { ...last, text: last.text + piece.text };
      else waiting.push(piece);
      running ??= run();
    },
    /** Resolves when all is recorded, with the size of the log after the last piece; undefined if there was none. */
    async end(): Promise<LogSize | undefined> {
      while (running) await running;
      if (failure) throw failure.error;
      return size;
    },
  };
}

function joins(last: NewPiece, next: NewPiece): boolean {
  if (next.offset !== endOf(last)) return false;
  return Buffer.byteLength(last.text) + Buffer.byteLength(next.text) <= maxEventBytes;
}
