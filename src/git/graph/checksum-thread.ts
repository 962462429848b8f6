import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';

// The thread that computes a checksum while another one reads what it is of.

/** What a thread computes the checksum of: so many bytes from the beginning of shared memory. */
export type ChecksumRequest = {
  readonly bytes: SharedArrayBuffer;
  readonly length: number;
  readonly algorithm: 'sha1' | 'sha256';
};

const { bytes, length, algorithm } = workerData as ChecksumRequest;
parentPort?.postMessage(
  createHash(algorithm)
    .update(new Uint8Array(bytes, 0, length))
    .digest('hex'),
);
