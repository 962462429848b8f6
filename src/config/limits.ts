import * as z from 'zod';

/** Of something a second, with how many at once after a pause. */
const rate = (byDefault: number) => z.number().min(0.1).max(1_000_000).default(byDefault);
const burst = (byDefault: number) => z.int().min(1).max(10_000_000).default(byDefault);
const atOnce = (byDefault: number) => z.int().min(1).max(1_000_000).default(byDefault);
const bytes = (byDefault: number) =>
  z
    .int()
    .min(64 * 1024)
    .max(2 ** 50)
    .default(byDefault);

/** What one caller may take of a server, whatever connections it comes over. */
const shares = {
  /** Calls a second, in the long run. */
  calls_per_second: rate(20_000),
  /** Calls at once, after a pause. */
  calls_burst: burst(400_000),
  /** The same of what keeps attempts alive or ends them: heartbeats, completions, failures, live output, withdrawals of jobs. */
  reports_per_second: rate(20_000),
  reports_burst: burst(400_000),
  /** Streams that are open at a time, in either direction. */
  streams: atOnce(20_000),
  /** Lists that are worked on at a time. */
  lists: atOnce(256),
  /** Bytes a second of long messages, both ways, in the long run. */
  bytes_per_second: bytes(1024 ** 3),
  /** Bytes at once, after a pause. */
  bytes_burst: bytes(8 * 1024 ** 3),
};

/** What callers may take of a server. */
export const limitsConfig = z.strictObject({
  ...shares,
  /** The same for all together that prove nobody from one address: a call that is refused for it, or of health. */
  unauthenticated: z
    .strictObject({
      calls_per_second: rate(50),
      calls_burst: burst(500),
      reports_per_second: rate(50),
      reports_burst: burst(500),
      streams: atOnce(50),
      lists: atOnce(4),
      bytes_per_second: bytes(1024 ** 2),
      bytes_burst: bytes(16 * 1024 ** 2),
    })
    .prefault({}),
});

export type LimitsConfig = z.output<typeof limitsConfig>;
