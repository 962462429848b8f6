import * as z from 'zod';

/** What one server, one connection and one call may take. */
export const rpcConfig = z.strictObject({
  /** Most connections at a time; one more is closed at once. */
  max_connections: z.int().min(1).max(1_000_000).default(10_000),
  /** Most calls at a time on one connection; a client keeps more of them to itself. */
  max_streams: z.int().min(1).max(1_000_000).default(4_096),
  /** Most calls that one connection may cancel or reset at once, and again every ten seconds; one more ends the connection. */
  max_resets: z.int().min(1).max(1_000_000).default(500),
  /** Most calls of one connection that may be refused by a limit, or for want of a credential, at once, and again every ten seconds; one more ends it. */
  max_refusals: z.int().min(1).max(1_000_000).default(1_000),
  /** Most calls of one connection that are begun before others' have had their turn. */
  max_calls_in_turn: z.int().min(1).max(1_000_000).default(64),
  /** How long a client may take until it speaks HTTP/2, TLS included, in seconds. */
  handshake_timeout: z.number().min(0.1).max(120).default(10),
  /** How often it is asked whether a client is still there, in seconds. */
  keepalive_time: z.number().min(0.1).max(86_400).default(30),
  /** How long it may take to say so, in seconds; then its connection is ended. */
  keepalive_timeout: z.number().min(0.1).max(3_600).default(20),
  /** After how many seconds without a call a connection is ended; 0 for never. */
  max_idle: z.number().min(0).max(31_536_000).default(3_600),
  /** After how many seconds a connection takes no new calls; 0 for never. */
  max_age: z.number().min(0).max(31_536_000).default(0),
  /** How long calls of such a connection may go on, in seconds. */
  age_grace: z.number().min(0).max(86_400).default(60),
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
