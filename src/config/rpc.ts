import * as z from 'zod';

/** What one server, one connection and one call may take. */
export const rpcConfig = z.strictObject({
  /** Most connections at a time; one more is closed at once. */
  max_connections: z.int().min(1).max(1_000_000).default(10_000),
  /** Most calls at a time on one connection; a client keeps more of them to itself. */
  max_streams: z.int().min(1).max(1_000_000).default(4_096),
  /** Most calls that one connection may cancel or reset at once, and again every ten seconds; one more ends the connection. */
  max_resets: z.int().min(1).max(1_000_000).default(500),
  /** Most bytes of one call's metadata, each entry with 32 more, as HTTP/2 counts them. */
  max_header_bytes: z
    .int()
    .min(4 * 1024)
    .max(48 * 1024)
    .default(16 * 1024),
  /** Most bytes of one request. Below the 4 MiB that clients accept, so that a job always fits into an answer. */
  max_request_bytes: z
    .int()
    .min(64 * 1024)
    .max(3 * 1024 * 1024)
    .default(3 * 1024 * 1024),
});
