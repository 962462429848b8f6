import { createHash } from 'node:crypto';
import { serveThread } from '../../threads/serve-thread.js';

// The thread that computes a checksum while another one reads what it is of.

/** What a checksum is computed of: so many bytes from the beginning of shared memory. */
export type ChecksumRequest = {
  readonly bytes: SharedArrayBuffer;
  readonly length: number;
  readonly algorithm: 'sha1' | 'sha256';
};

const open = () => ({
  checksum: ({ bytes, length, algorithm }: ChecksumRequest) =>
    createHash(algorithm)
      .update(new Uint8Array(bytes, 0, length))
      .digest('hex'),
});

/** The thread's type. */
export type ChecksumThread = typeof open;

serveThread(open);
