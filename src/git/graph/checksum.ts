import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { ChecksumRequest } from './checksum-thread.js';

/** Where a thread takes longer to start than the checksum takes, in bytes. */
const worthAThread = 16 * 1024 * 1024;

/** The checksum of bytes in hexadecimal digits, computed in a thread of its own if they are many. */
export async function checksum(request: ChecksumRequest): Promise<string> {
  const { bytes, length, algorithm } = request;
  if (length < worthAThread)
    return createHash(algorithm)
      .update(new Uint8Array(bytes, 0, length))
      .digest('hex');
  const thread = new Worker(new URL('./checksum-thread.js', import.meta.url), { workerData: request });
  return new Promise((resolve, reject) => {
    thread.on('message', resolve);
    thread.on('error', reject);
    thread.on('exit', () => reject(new Error('the thread that computes a checksum ended')));
  });
}
