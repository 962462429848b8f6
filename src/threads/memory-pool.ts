/** Memory that is used again and again, since memory that is new to a process costs it more than what is then read into it. */
export type MemoryPool = {
  /** Memory of the pool's size, with whatever was in it before. */
  take(): ArrayBuffer;
  /** Gives memory back that nobody uses any more. */
  give(memory: ArrayBuffer): void;
};

/** A pool of memories of so many bytes each, which keeps at most so many that nobody uses. */
export function memoryPool(bytes: number, most: number): MemoryPool {
  const kept: ArrayBuffer[] = [];
  return {
    take: () => kept.pop() ?? Buffer.allocUnsafeSlow(bytes).buffer,
    give(memory) {
      if (kept.length < most && memory.byteLength === bytes) kept.push(memory);
    },
  };
}
