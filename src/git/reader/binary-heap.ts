/** A priority queue. */
export type Heap<T> = {
  push(item: T): void;
  /** Takes out the item that comes first; undefined if there is none. */
  pop(): T | undefined;
};

/**
 * A binary heap (J. W. J. Williams, 1964).
 * @param compare - negative if the first argument comes first
 */
export function binaryHeap<T>(compare: (a: T, b: T) => number): Heap<T> {
  const items: T[] = [];
  const before = (i: number, j: number) => compare(items[i] as T, items[j] as T) < 0;
  const swap = (i: number, j: number) => {
    const item = items[i] as T;
    items[i] = items[j] as T;
    items[j] = item;
  };
  return {
    push(item) {
      let at = items.push(item) - 1;
      for (let parent = (at - 1) >> 1; at > 0 && before(at, parent); parent = (at - 1) >> 1) {
        swap(at, parent);
        at = parent;
      }
    },
    pop() {
      const first = items[0];
      const last = items.pop();
      if (items.length === 0 || last === undefined) return first;
      items[0] = last;
      for (let at = 0; ; ) {
        let child = 2 * at + 1;
        if (child + 1 < items.length && before(child + 1, child)) child++;
        if (child >= items.length || !before(child, at)) return first;
        swap(at, child);
        at = child;
      }
    },
  };
}
