import { createHash } from 'node:crypto';
import { startThread } from '../../threads/thread.js';
import type { ChecksumRequest, ChecksumThread } from './checksum-thread.js';

/** Where a thread takes longer to start than the checksum takes, in bytes. */
const worthAThread = 16 * 1024 * 1024;

/** The checksum of bytes in hexadecimal digits, computed in a thread of its own if they are many. */
export async function checksum(request: ChecksumRequest): Promise<string> {
  const { bytes, length, algorithm } = request;
  if (length < worthAThread)
    return createHash(algorithm)
      .update(new Uint8Array(bytes, 0, length))
      .digest('hex');
  const file = new URL('./checksum-thread.js', import.meta.url);
  const thread = startThread<ChecksumThread>(file, undefined, { name: 'the thread that computes a checksum' });
  try {
    return await thread.call.checksum(request);
  } finally {
    await thread.terminate();
  }
}
