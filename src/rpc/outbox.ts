import type { Sink } from './http2/frames.js';

/** Messages and bytes that wait in this process for one reader before it is waited for. grpc-js would count messages alone. */
const mostMessages = 16;
const usualBytes = 256 * 1024;

/** The same bytes of streams of bytes, whose messages are large. */
export const bytesOfTransfers = 2 * 1024 * 1024;

/**
 * Sends the messages of a stream no faster than its client reads, so that a reader that is slow, or has stopped for good, holds a
 * bounded part of the memory. The function gives nothing while there is room, else what resolves when there is, or when the signal
 * aborts; it calls `sent` once the message has left the process, if it does.
 */
export function outbox(
  sink: Sink,
  signal: AbortSignal,
  mostBytes = usualBytes,
): (message: Buffer, sent?: () => void) => Promise<void> | undefined {
  let messages = 0;
  let bytes = 0;
  let resume: (() => void) | undefined;
  signal.addEventListener('abort', () => resume?.(), { once: true });

  return (message, sent) => {
    messages++;
    bytes += message.length;
    sink.write(message, (error) => {
      if (!error) sent?.();
      messages--;
      bytes -= message.length;
      if (messages <= mostMessages / 2 && bytes <= mostBytes / 2) resume?.();
    });
    if ((messages < mostMessages && bytes < mostBytes) || signal.aborted) return undefined;
    return new Promise((resolve) => {
      resume = () => {
        resume = undefined;
        resolve();
      };
    });
  };
}
