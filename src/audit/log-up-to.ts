import type { EventLog, Position } from '../eventstore/port.js';

/** The log as if it ended at a position, which must not be beyond its end. What is read at one place is as in the whole log. */
export function logUpTo(log: EventLog, end: Position): EventLog {
  return {
    ...log,
    end: async () => end,
    async *subscribeAll(after, options) {
      for await (const batch of log.subscribeAll(after, options)) {
        const events = batch.events.filter(({ position }) => position <= end);
        const live = batch.live || batch.position >= end;
        yield { events, position: Math.min(batch.position, end), live };
        if (live) return;
      }
    },
  };
}
