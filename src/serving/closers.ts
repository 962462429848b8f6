/** What a server opened, to be closed in the reverse order. */
export type Closers = {
  /** Takes note of how a part is closed, and gives the part. */
  open<T>(part: T, close: (part: T) => unknown): T;
  /**
   * Closes everything, the last first; what was closed is not closed again. What does not close in time, since it waits for a store that
   * does not answer, is left to the end of the process.
   */
  closeAll(): Promise<void>;
};

/** Starts with nothing open. Everything together may take `longestMs` milliseconds to close; `late` is told of what did not. */
export function closers(longestMs: number, late: (count: number) => void): Closers {
  const all: (() => unknown)[] = [];
  return {
    open(part, close) {
      all.push(() => close(part));
      return part;
    },
    async closeAll() {
      let left = all.length;
      const closing = async () => {
        for (let close = all.pop(); close; close = all.pop()) {
          await close();
          left -= 1;
        }
      };
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          late(left);
          resolve();
        }, longestMs);
      });
      try {
        await Promise.race([closing(), timeout]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
