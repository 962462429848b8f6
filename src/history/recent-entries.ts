import type { Position } from '../eventstore/port.js';
import { firstAfter, type LogEntry } from './log-entry.js';

/** The last events of the log, for all who read at its end: a window that is bounded by events and by bytes. */
export type RecentEntries<Message> = {
  /** Every event after this position and up to `end` is here. */
  readonly from: Position;
  readonly end: Position;
  /** Takes in the next event. */
  add(entry: LogEntry<Message>): void;
  /** The first event after a position that is not before `from`; undefined if there is none yet. */
  after(position: Position): LogEntry<Message> | undefined;
};

/** Most that a window holds. */
export type WindowLimits = { readonly events: number; readonly bytes: number };

/** How far a window grows beyond its limits before it is cut to them, so that an event costs the same whatever they are. */
const slack = 1.25;

/** A window that begins behind the position. */
export function recentEntries<Message>(position: Position, limits: WindowLimits): RecentEntries<Message> {
  let from = position;
  let end = position;
  let bytes = 0;
  let entries: LogEntry<Message>[] = [];

  function cut(): void {
    let gone = 0;
    for (; entries.length - gone > limits.events || bytes > limits.bytes; gone++) {
      const oldest = entries[gone] as LogEntry<Message>;
      from = oldest.place.position;
      bytes -= oldest.size;
    }
    entries = entries.slice(gone);
  }

  return {
    get from() {
      return from;
    },
    get end() {
      return end;
    },
    add(entry) {
      entries.push(entry);
      end = entry.place.position;
      bytes += entry.size;
      if (entries.length > limits.events * slack || bytes > limits.bytes * slack) cut();
    },
    after: (position) => entries[firstAfter(entries, position)],
  };
}
