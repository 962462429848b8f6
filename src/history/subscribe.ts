import type { Access } from '../domain/access.js';
import type { Edge } from '../edge.js';
import { waker } from '../jobs/waker.js';
import type { EventFilter } from './event-filter.js';
import type { EventHub, Following } from './event-hub.js';
import type { LogEntry } from './log-entry.js';
import type { PastCursor } from './past-entries.js';
import type { Place } from './place.js';

/** What a subscriber does in one turn at most, in units: about a microsecond or two each. */
const mostPerTurn = 1_024;
const costOf = {
  recent: { passedOver: 1, sent: 32 },
  // Most likely nobody else is there, so that all of the work on the event is this subscriber's.
  past: { passedOver: 8, sent: 96 },
} as const;

/** What a subscriber wants. */
export type Subscription = {
  readonly from: Place;
  readonly filter: EventFilter;
  /** What it may read now; asked again and again. */
  readonly access: () => Access;
  /** Longest time without a message, in milliseconds. */
  readonly heartbeatMs: number;
  readonly signal: AbortSignal;
};

/** That there was no event for a while, or that the past has been given. */
export type Heartbeat = {
  /** Every event up to here was given, as far as it is wanted and may be read. */
  readonly place: Place;
  /** Whether events are given as they are recorded. */
  readonly live: boolean;
};

/** What a subscriber is given. */
export type Given<Message> = { readonly event: Message } | { readonly heartbeat: Heartbeat };

/**
 * The events of the log after a place, then those to come, until the signal aborts; each once, in the order of the log. A subscriber is
 * no more than a place: it reads from what the hub holds for all, and one that is slow falls behind into the past and comes back
 * from there. So what is not fetched costs nothing.
 * @throws StoreUnavailable, or MemoirError UNAVAILABLE if the read model has ended or does not catch up
 */
export async function* subscribe<Message>(
  hub: EventHub<Message>,
  { from, filter, access, heartbeatMs, signal }: Subscription,
  edge: Pick<Edge, 'monotonic'>,
): AsyncGenerator<Given<Message>> {
  const membership = hub.join();
  const news = waker();
  let unsubscribe: () => void = () => undefined;
  try {
    const following = await membership.following;
    unsubscribe = following.onChange(news.wake);
    const cursor: PastCursor = { page: from.position };
    let place = from;
    let caughtUp = false;
    let told = edge.monotonic();
    while (!signal.aborted) {
      await hub.turns.next();
      following.check();
      let more = true;
      for (let cost = 0; cost < mostPerTurn && more && !signal.aborted; ) {
        const past = place.position < following.recent.from;
        if (past) caughtUp = false;
        const entry = past ? await hub.past.after(cursor, place.position) : following.recent.after(place.position);
        if (!entry) more = false;
        else {
          const costs = past ? costOf.past : costOf.recent;
          cost += costs.passedOver;
          // Before the event is given: whoever has it will not come back for it.
          place = entry.place;
          if (!wanted(entry, filter, access)) continue;
          cost += costs.sent;
          yield { event: entry.message(access()) };
          told = edge.monotonic();
        }
      }
      const live = isLive(following, place);
      const due = told + heartbeatMs;
      if ((live && !caughtUp) || edge.monotonic() >= due) {
        caughtUp ||= live;
        yield { heartbeat: { place, live } };
        told = edge.monotonic();
      } else if (!more) await news.next(signal, due - edge.monotonic());
    }
  } finally {
    unsubscribe();
    membership.leave();
  }
}

function wanted(entry: LogEntry<unknown>, filter: EventFilter, access: () => Access): boolean {
  if (!filter.takesType(entry.type) || entry.foreign()) return false;
  const now = access();
  if (now.readsAll && filter.takesAll) return true;
  const facts = entry.facts();
  return filter.takes(facts) && facts.readableBy(now);
}

/** Whether everything up to the end of the log, as far as it is known here, was given. */
function isLive({ live, recent }: Following<unknown>, { position }: Place): boolean {
  return live() && position >= recent.end;
}
