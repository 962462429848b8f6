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

/** What one caller may take, whatever connections it comes over, with what it may unless the configuration says other. */
const shares = (byDefault: {
  calls: number;
  callsAtOnce: number;
  streams: number;
  lists: number;
  bytes: number;
  bytesAtOnce: number;
}) => ({
  /** Calls a second, in the long run. */
  calls_per_second: rate(byDefault.calls),
  /** Calls at once, after a pause. */
  calls_burst: burst(byDefault.callsAtOnce),
  /** The same of what keeps attempts alive or ends them: heartbeats, completions, failures, live output, withdrawals of jobs. */
  reports_per_second: rate(byDefault.calls),
  reports_burst: burst(byDefault.callsAtOnce),
  /** Streams that are open at a time, in either direction. */
  streams: atOnce(byDefault.streams),
  /** Lists that are worked on at a time. */
  lists: atOnce(byDefault.lists),
  /** Bytes a second of long messages, both ways, in the long run. */
  bytes_per_second: bytes(byDefault.bytes),
  /** Bytes at once, after a pause. */
  bytes_burst: bytes(byDefault.bytesAtOnce),
});

/** What callers may take of a server. */
export const limitsConfig = z.strictObject({
  ...shares({
    calls: 20_000,
    callsAtOnce: 400_000,
    streams: 20_000,
    lists: 256,
    bytes: 1024 ** 3,
    bytesAtOnce: 8 * 1024 ** 3,
  }),
  /** The same for all together that prove nobody from one address: a call that is refused for it, or of health. */
  unauthenticated: z
    .strictObject(
      shares({
        calls: 50,
        callsAtOnce: 500,
        streams: 50,
        lists: 4,
        bytes: 1024 ** 2,
        bytesAtOnce: 16 * 1024 ** 2,
      }),
    )
    .prefault({}),
});

export type LimitsConfig = z.output<typeof limitsConfig>;
