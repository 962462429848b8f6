/** What one message may have: so many blobs and bytes at most. */
export type BatchLimits = { readonly blobs: number; readonly bytes: number };

/** What fits together into a message each, in its order; what is larger than a message is by itself. */
export function* batches<T>(
  all: Iterable<T>,
  most: BatchLimits,
  sizeOf: (one: T) => number,
): Generator<readonly T[], void, undefined> {
  let batch: T[] = [];
  let bytes = 0;
  for (const one of all) {
    const size = sizeOf(one);
    if (batch.length > 0 && (batch.length >= most.blobs || bytes + size > most.bytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
