import { LRUCache } from 'lru-cache';
import { type EventStore, type Position, principalOf, start } from '../eventstore/port.js';

/** Of how many principals it is remembered what they wrote last: many times those who write while a read model comes to it. */
const remembered = 10_000;

/** A store, and how far those who appended to it know of it. */
export type SettlingStore<Store extends EventStore> = {
  readonly store: Store;
  /**
   * Position up to which every append of this process was answered, and whoever waited for the answer has had it: what they do with
   * it without waiting again is done.
   */
  settled(): Position;
  /** Position of what a principal had appended last by this process, as far as that is remembered. */
  lastOf(principal: string): Position;
};

/** Watches the appends to a store, which answers them in the order of the log, from its present end on. */
export async function settlingStore<Store extends EventStore>(store: Store): Promise<SettlingStore<Store>> {
  let settled = await store.end();
  let answered = settled;
  let scheduled = false;
  const last = new LRUCache<string, Position>({ maxSize: remembered, sizeCalculation: () => 1 });

  // An answer reaches who waits for it before the event loop goes on to what was made due by setImmediate.
  function settle(): void {
    scheduled = false;
    settled = answered;
  }

  return {
    settled: () => settled,
    lastOf: (principal) => last.get(principal) ?? start,
    store: {
      ...store,
      async append(stream, expected, events) {
        const appended = await store.append(stream, expected, events);
        answered = Math.max(answered, appended.position);
        const [event] = events;
        const principal = event && principalOf(event);
        if (principal !== undefined) last.set(principal, Math.max(appended.position, last.peek(principal) ?? start));
        if (!scheduled) setImmediate(settle);
        scheduled = true;
        return appended;
      },
    },
  };
}
