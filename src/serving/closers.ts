/** What a server opened, to be closed in the reverse order. */
export type Closers = {
  /** Takes note of how a part is closed, and gives the part. */
  open<T>(part: T, close: (part: T) => unknown): T;
  /** Closes everything, the last first; what was closed is not closed again. */
  closeAll(): Promise<void>;
};

/** Starts with nothing open. */
export function closers(): Closers {
  const all: (() => unknown)[] = [];
  return {
    open(part, close) {
      all.push(() => close(part));
      return part;
    },
    async closeAll() {
      for (let close = all.pop(); close; close = all.pop()) await close();
    },
  };
}
