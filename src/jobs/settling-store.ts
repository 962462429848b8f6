import type { EventStore, Position } from '../eventstore/port.js';

/** A store, and how far those who appended to it know of it. */
export type SettlingStore<Store extends EventStore> = {
  readonly store: Store;
  /**
   * Position up to which every append of this process was answered, and whoever waited for the answer has had it: what they do with
   * it without waiting again is done.
   */
  settled(): Position;
};

/** Watches the appends to a store, which answers them in the order of the log, from its present end on. */
export async function settlingStore<Store extends EventStore>(store: Store): Promise<SettlingStore<Store>> {
  let settled = await store.end();
  let answered = settled;
  let scheduled = false;

  // An answer reaches who waits for it before the event loop goes on to what was made due by setImmediate.
  function settle(): void {
    scheduled = false;
    settled = answered;
  }

  return {
    settled: () => settled,
    store: {
      ...store,
      async append(stream, expected, events) {
        const appended = await store.append(stream, expected, events);
        answered = Math.max(answered, appended.position);
        if (!scheduled) setImmediate(settle);
        scheduled = true;
        return appended;
      },
    },
  };
}
