/** The type of the event in `$$stream` that says what of a stream is kept. */
export const metadataType = '$metadata';

/** What a stream's metadata say that is kept of it. */
export type Retention = {
  /** `$tb`: the first revision that may be read. Of a stream that was deleted it is the biggest signed 64-bit number. */
  readonly before?: number;
  /** `$maxCount` */
  readonly count?: number;
  /** `$maxAge`, in seconds */
  readonly age?: number;
};

/** The retention in the data of a metadata event; none in what is no JSON. */
export function retentionIn(data: Uint8Array): Retention {
  try {
    const { $tb, $maxCount, $maxAge } = JSON.parse(Buffer.from(data).toString('utf8')) as Record<string, unknown>;
    return {
      ...(typeof $tb === 'number' && { before: $tb }),
      ...(typeof $maxCount === 'number' && { count: $maxCount }),
      ...(typeof $maxAge === 'number' && { age: $maxAge }),
    };
  } catch {
    return {};
  }
}

type Kept = { readonly revision: number; readonly created: bigint };

/** Whether a stream with this retention was deleted, so that it is missing until it is written again. */
export function isDeleted({ before = 0 }: Retention): boolean {
  return before > Number.MAX_SAFE_INTEGER;
}

/** The first revision that may be read, at once and before any scavenge. */
export function firstReadable(own: readonly Kept[], last: number, retention: Retention, now: bigint): number {
  const { before = 0, count, age } = retention;
  const byCount = count === undefined ? 0 : last + 1 - count;
  const oldest = age === undefined ? undefined : now - BigInt(age) * 10_000_000n;
  const byAge = oldest === undefined ? 0 : (own.find(({ created }) => created > oldest)?.revision ?? last + 1);
  return Math.max(0, before, byCount, byAge);
}
