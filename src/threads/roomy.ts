/** Bytes of memory that are free in front of roomy bytes. */
export const roomBefore = 256;

/** What becomes of the memory of roomy bytes once nobody uses it any more. */
type Free = ((memory: ArrayBuffer) => void) | undefined;

const freeOf = new WeakMap<Uint8Array, Free>();

/**
 * Bytes, of which it is noted that what lies before them in their memory is nobody's, so that a message can be made of them where they lie instead of being
 * copied around them.
 * @param data at least `roomBefore` behind the beginning of its memory
 * @param free is given the memory when it may be used anew; nothing where it is left to the garbage collector
 */
export function roomy<Bytes extends Uint8Array<ArrayBuffer>>(data: Bytes, free?: (memory: ArrayBuffer) => void): Bytes {
  if (data.byteOffset < roomBefore) throw new RangeError(`${data.byteOffset} bytes are no room`);
  freeOf.set(data, free);
  return data;
}

/** Whether bytes are roomy: these themselves, and not others in the same memory. */
export const isRoomy = (data: Uint8Array): data is Uint8Array<ArrayBuffer> => freeOf.has(data);

/** Gives the memory of roomy bytes back, which nobody may look at any more; of others nothing. Once at most. */
export function free(data: Uint8Array): void {
  const take = freeOf.get(data);
  freeOf.delete(data);
  take?.(data.buffer as ArrayBuffer);
}
