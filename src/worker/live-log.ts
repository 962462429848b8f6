import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { retrying } from './retry.js';
import type { WorkerClient } from './worker-client.js';

/** Most bytes of the file in one call. */
const batchBytes = 256 * 1024;

/** Pause between looks at a file that has not grown, in milliseconds. */
const pauseMs = 200;

/**
 * Sends what a script writes into its log file to the server as the live log, piece by piece, until `finished` aborts and all is
 * sent, or the server's limit is reached. What is not UTF-8 is sent as U+FFFD. The file is the buffer: a script that floods it is
 * neither slowed down nor kept in memory.
 * @param lost ends it at once
 * @throws CallError if the server refuses a piece
 */
export async function sendLiveLog(
  worker: Pick<WorkerClient, 'appendJobLog'>,
  uuid: string,
  path: string,
  finished: AbortSignal,
  lost: AbortSignal,
): Promise<void> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(batchBytes);
    let offset = 0;
    let sent = 0n;
    for (;;) {
      lost.throwIfAborted();
      const last = finished.aborted;
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      offset += bytesRead;
      const ends = bytesRead === 0 && last;
      const text = decoder.decode(buffer.subarray(0, bytesRead), { stream: !ends });
      if (text !== '') {
        const answer = await append(worker, uuid, text, sent, lost);
        if (answer.truncated) return;
        sent = answer.size;
      }
      if (ends) return;
      if (bytesRead === 0) await sleep(pauseMs, undefined, { signal: finished }).catch(() => {});
    }
  } finally {
    await file.close();
  }
}

/**
 * Appends a piece exactly once. A broken call may have been recorded in whole or in part, so before it is made again, the length
 * of the log tells what of the piece is missing.
 */
async function append(
  worker: Pick<WorkerClient, 'appendJobLog'>,
  uuid: string,
  text: string,
  before: bigint,
  lost: AbortSignal,
) {
  return retrying(lost, async (tries) => {
    let missing = text;
    if (tries > 0) {
      const now = await worker.appendJobLog([{ uuid }], settings(lost));
      const there = Number(now.size - before);
      if (now.truncated || there >= Buffer.byteLength(text)) return now;
      missing = Buffer.from(text).subarray(there).toString('utf8');
    }
    return worker.appendJobLog([{ uuid, text: missing }], settings(lost));
  });
}

function settings(signal: AbortSignal) {
  return { signal, timeoutMs: 60_000 };
}
