import { type EventStore, StoreUnavailable } from '../eventstore/port.js';

/** A store, and how the appends of this process fare. */
export type RecordingStore<Store extends EventStore> = {
  readonly store: Store;
  readonly recording: Recording;
};

/** How appends fare. */
export type Recording = {
  /** How many appends failed because the store could not record them, or did not say that it had. */
  failures(): number;
  /** Number of the append that has been under way for longest; undefined if none is. */
  oldest(): number | undefined;
  /** Resolves when all that are under way have been answered. */
  answered(): Promise<void>;
};

/** Watches the appends to a store. */
export function recordingStore<Store extends EventStore>(store: Store): RecordingStore<Store> {
  const underWay = new Map<number, Promise<unknown>>();
  let last = 0;
  let failures = 0;
  return {
    recording: {
      failures: () => failures,
      oldest: () => underWay.keys().next().value,
      async answered() {
        await Promise.allSettled(underWay.values());
      },
    },
    store: {
      ...store,
      async append(stream, expected, events) {
        const number = ++last;
        const appending = store.append(stream, expected, events);
        underWay.set(number, appending);
        try {
          return await appending;
        } catch (error) {
          if (error instanceof StoreUnavailable) failures++;
          throw error;
        } finally {
          underWay.delete(number);
        }
      },
    },
  };
}
