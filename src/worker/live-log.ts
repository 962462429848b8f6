import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { retrying } from './retry.js';
import type { WorkerClient } from './worker-client.js';

/** Most bytes of the file in one call. */
const batchBytes = 256 * 1024;

/** Pause between looks at a file that has not grown, in milliseconds. */
const pauseMs = 200;

/** Whose live log it is, and the token of the attempt. */
export type HeldLog = { readonly uuid: string; readonly claimToken: Uint8Array<ArrayBuffer> };

/**
 * Sends what a script writes into its log file to the server as the live log, piece by piece, until `finished` aborts and all is
 * sent, or the server's limit is reached. What is not UTF-8 is sent as U+FFFD. The file is the buffer: a script that floods it is
 * neither slowed down nor kept in memory.
 * @param lost ends it at once
 * @throws CallError if the server refuses a piece
 */
export async function sendLiveLog(
  worker: Pick<WorkerClient, 'appendJobLog'>,
  held: HeldLog,
  path: string,
  finished: AbortSignal,
  lost: AbortSignal,
): Promise<void> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(batchBytes);
    let offset = 0;
    let sent = 0;
    for (;;) {
      lost.throwIfAborted();
      const last = finished.aborted;
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      offset += bytesRead;
      const ends = bytesRead === 0 && last;
      const text = decoder.decode(buffer.subarray(0, bytesRead), { stream: !ends });
      if (text !== '') {
        // With its offset, a piece that a broken call may have brought is sent again as it was.
        const piece = { ...held, text, offset: BigInt(sent) };
        const { truncated } = await retrying(lost, () =>
          worker.appendJobLog([piece], { signal: lost, timeoutMs: 60_000 }),
        );
        if (truncated) return;
        sent += Buffer.byteLength(text);
      }
      if (ends) return;
      if (bytesRead === 0) await sleep(pauseMs, undefined, { signal: finished }).catch(() => {});
    }
  } finally {
    await file.close();
  }
}
