/** What waits, by who asked for it: each caller has a turn, so that whoever asks for much waits behind its own and not others behind it. */
export type TurnsByCaller<T> = {
  /** How many wait in all, and of one caller. */
  readonly size: number;
  sizeOf(caller: string): number;
  add(caller: string, item: T): void;
  /** Takes the first one of the caller whose turn it is. */
  next(): T | undefined;
  /** Takes one out; false if it does not wait. */
  remove(caller: string, item: T): boolean;
  /** Takes all out. */
  clear(): T[];
};

/** Nothing waits at first. Callers have their turns one after the other (round robin), each with what it asked for in that order. */
export function turnsByCaller<T>(): TurnsByCaller<T> {
  // A map keeps the order in which its keys came: that of the turns.
  const waiting = new Map<string, T[]>();
  let size = 0;
  return {
    get size() {
      return size;
    },
    sizeOf: (caller) => waiting.get(caller)?.length ?? 0,
    add(caller, item) {
      const own = waiting.get(caller);
      if (own) own.push(item);
      else waiting.set(caller, [item]);
      size++;
    },
    next() {
      for (const [caller, own] of waiting) {
        const item = own.shift() as T;
        waiting.delete(caller);
        if (own.length > 0) waiting.set(caller, own);
        size--;
        return item;
      }
      return undefined;
    },
    remove(caller, item) {
      const own = waiting.get(caller);
      const place = own?.indexOf(item) ?? -1;
      if (!own || place < 0) return false;
      own.splice(place, 1);
      if (own.length === 0) waiting.delete(caller);
      size--;
      return true;
    },
    clear() {
      const all = [...waiting.values()].flat();
      waiting.clear();
      size = 0;
      return all;
    },
  };
}
