import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { EventLog, RecordedEvent } from '../eventstore/port.js';
import { type LogEntry, logEntry, type Presented } from './log-entry.js';
import { type PastEntries, pastEntries } from './past-entries.js';
import type { Place } from './place.js';
import { type RecentEntries, recentEntries, type WindowLimits } from './recent-entries.js';
import { createTurns, type Turns } from './turns.js';
import { upToDate } from './up-to-date.js';

/** What the window of the last events holds at most. */
const usualWindow: WindowLimits = { events: 8_192, bytes: 32 * 1024 * 1024 };

/** Events that the log is followed by at once, so that no batch takes long to read. */
const batchSize = 256;

/** The end of the log as it is followed. */
export type Following<Message> = {
  /** The last events that the read model has come to. */
  readonly recent: RecentEntries<Message>;
  /** True from when the end of the log was reached for the first time. */
  live(): boolean;
  /** Throws what the log or the read model failed with, if one did; nothing follows then any more. */
  check(): void;
  /** Calls `listener` after `recent` grew or one of the others changed, until the returned function is called. */
  onChange(listener: () => void): () => void;
};

/** What all subscribers of a server share. */
export type EventHub<Message> = {
  readonly past: PastEntries<Message>;
  readonly turns: Turns;
  /**
   * Counts a subscriber in, until `leave` is called once. The log is followed once for all, while there are subscribers.
   * @throws StoreUnavailable, or MemoirError UNAVAILABLE if the read model has ended or does not catch up
   */
  join(): { readonly following: Promise<Following<Message>>; leave(): void };
};

/**
 * The hub of a server. `present` makes what subscribers are sent of an event; it is called once for all that are near the end of the log
 * or go through the past together, and what it gives once for each.
 */
export function openEventHub<Message>(
  context: { readonly store: EventLog; readonly readModel: ReadModel },
  present: (recorded: RecordedEvent, place: Place) => Presented<Message>,
  window = usualWindow,
): EventHub<Message> {
  const { store, readModel } = context;
  const entryOf = (recorded: RecordedEvent) => logEntry(readModel, present, recorded);
  let members = 0;
  let current: { readonly following: Promise<Following<Message>>; readonly stop: AbortController } | undefined;

  function begin() {
    const stop = new AbortController();
    const made = { stop, following: follow(store, readModel, entryOf, window, stop.signal, end) };
    function end() {
      stop.abort();
      // Whoever comes next begins anew.
      if (current === made) current = undefined;
    }
    made.following.catch(end);
    return made;
  }

  return {
    past: pastEntries(store, (position) => upToDate(readModel, position), entryOf),
    turns: createTurns(),
    join() {
      members++;
      current ??= begin();
      return {
        following: current.following,
        leave() {
          if (--members > 0) return;
          current?.stop.abort();
          current = undefined;
        },
      };
    },
  };
}

async function follow<Message>(
  store: EventLog,
  readModel: ReadModel,
  entryOf: (recorded: RecordedEvent) => LogEntry<Message>,
  window: WindowLimits,
  signal: AbortSignal,
  onEnd: () => void,
): Promise<Following<Message>> {
  const listeners = new Set<() => void>();
  const recent = await lastEntries(store, readModel, entryOf, window);
  let live = false;
  let failure: { readonly error: unknown } | undefined;

  async function run(): Promise<void> {
    for await (const batch of store.subscribeAll(recent.end, { signal, batchSize })) {
      await readModel.waitFor(batch.position, signal);
      for (const recorded of batch.events) recent.add(entryOf(recorded));
      live ||= batch.live;
      tell();
    }
  }

  function tell(): void {
    for (const listener of [...listeners]) listener();
  }

  run().catch((error: unknown) => {
    if (signal.aborted) return;
    failure = { error };
    onEnd();
    tell();
  });

  return {
    recent,
    live: () => live,
    check() {
      if (failure) throw failure.error;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/**
 * The window as it would be had the log been followed before: subscribers that come back after the server was started again are only
 * little behind, all of them, and find what they need here.
 */
async function lastEntries<Message>(
  store: EventLog,
  readModel: ReadModel,
  entryOf: (recorded: RecordedEvent) => LogEntry<Message>,
  window: WindowLimits,
): Promise<RecentEntries<Message>> {
  const entries: LogEntry<Message>[] = [];
  let bytes = 0;
  let whole = true;
  for await (const recorded of store.readAll(undefined, { direction: 'backwards' })) {
    const entry = entryOf(recorded);
    bytes += entry.size;
    entries.push(entry);
    whole = entries.length < window.events && bytes < window.bytes;
    if (!whole) break;
  }
  entries.reverse();
  // The oldest one is there for its position alone.
  const oldest = whole ? undefined : entries.shift();
  const recent = recentEntries<Message>(oldest?.place.position ?? 0, window);
  for (const entry of entries) recent.add(entry);
  await upToDate(readModel, recent.end);
  return recent;
}
