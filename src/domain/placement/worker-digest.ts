import { hash } from 'node:crypto';

/** The digest by which the stream of a worker is called: SHA-256 of the RFC 8785 form of [principal, worker_name], in hexadecimal digits. */
export function workerDigest({
  principal,
  workerName,
}: {
  readonly principal: string;
  readonly workerName: string;
}): string {
  // A list of two texts has no other form in RFC 8785 than JSON.stringify gives.
  return hash('sha256', JSON.stringify([principal, workerName]), 'hex');
}
