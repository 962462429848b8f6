import type { ExecutionContext } from 'ava';
import { systemEdge } from '../../src/edge.js';
import type { KurrentTimings } from '../../src/eventstore/kurrentdb/options.js';
import { openKurrentStore } from '../../src/eventstore/kurrentdb/store.js';
import { parseKurrentUrl } from '../../src/eventstore/kurrentdb/url.js';
import type { Batch, EventStore, RecordedEvent } from '../../src/eventstore/port.js';
import { type Double, type DoubleOptions, startDouble } from '../support/kurrentdb-double/double.js';
import '../support/native-client.js';

/** Timings of a test: nothing takes long, but a busy machine is not taken for a silent server. */
export const quick: Partial<KurrentTimings> = {
  answerTimeout: 4_000,
  patience: 60_000,
  stallAfter: 300,
  longestLook: 4_000,
  repeatAfter: 0,
  firstPause: 5,
  longestPause: 100,
};

/** A double and a store on it, which the end of the test closes. */
export async function openOnDouble(
  t: ExecutionContext,
  options: DoubleOptions & { readonly timings?: Partial<KurrentTimings>; readonly query?: string } = {},
): Promise<{ double: Double; store: EventStore; troubles: string[] }> {
  const double = await startDouble(options);
  const troubles: string[] = [];
  const store = await openKurrentStore(parseKurrentUrl(double.url + (options.query ?? '')), {
    edge: systemEdge,
    timings: { ...quick, ...options.timings },
    onTrouble: (message) => troubles.push(message),
  });
  t.teardown(async () => {
    await store.close();
    await double.stop();
  });
  return { double, store, troubles };
}

/** Follows the log from its beginning until it is stopped. */
export function follower(store: EventStore) {
  const stop = new AbortController();
  const events: RecordedEvent[] = [];
  const batches: Batch[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const done = (async () => {
    for await (const batch of store.subscribeAll(0, { signal: stop.signal })) {
      batches.push(batch);
      events.push(...batch.events);
      for (const waiter of waiting) if (events.length >= waiter.count) waiter.resolve();
    }
  })();
  return {
    events,
    batches,
    /** Resolves when so many events have come. */
    until: (count: number) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({ count, resolve });
        if (events.length >= count) resolve();
        done.catch(reject);
      }),
    async end() {
      stop.abort();
      await done;
    },
  };
}
