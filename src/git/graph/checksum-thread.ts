import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import type { ChecksumRequest } from './checksum.js';

// The thread that computes a checksum while another one reads what it is of.

const { bytes, length, algorithm } = workerData as ChecksumRequest;
parentPort?.postMessage(
  createHash(algorithm)
    .update(new Uint8Array(bytes, 0, length))
    .digest('hex'),
);
