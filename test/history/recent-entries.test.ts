import test from 'ava';
import fc from 'fast-check';
import { unrestricted } from '../../src/domain/access.js';
import type { LogEntry } from '../../src/history/log-entry.js';
import { recentEntries } from '../../src/history/recent-entries.js';

const everything = unrestricted('ada');

function entry(position: number, size: number): LogEntry<number> {
  const place = { position, eventId: `id-${position}` };
  const facts = () => ({ readableBy: () => true });
  return { place, type: 'JobRequested', size, foreign: () => false, facts, message: () => position };
}

test('a window has every event after its beginning, in order, and no more than it may', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 })), { maxLength: 200 }),
      fc.record({ events: fc.integer({ min: 1, max: 20 }), bytes: fc.integer({ min: 1, max: 200 }) }),
      (steps, limits) => {
        const window = recentEntries<number>(7, limits);
        const all: LogEntry<number>[] = [];
        let position = 7;
        for (const [gap, size] of steps) {
          position += gap;
          all.push(entry(position, size));
          window.add(all.at(-1) as LogEntry<number>);
          t.is(window.end, position);
          const here = all.filter(({ place }) => place.position > window.from);
          t.true(here.length <= limits.events * 1.25);
          t.true(here.reduce((sum, one) => sum + one.size, 0) <= limits.bytes * 1.25);
          const found: number[] = [];
          for (let at = window.from; ; ) {
            const next = window.after(at);
            if (!next) break;
            found.push(next.message(everything));
            at = next.place.position;
          }
          t.deepEqual(
            found,
            here.map(({ place }) => place.position),
          );
        }
        if (all.length <= limits.events && all.reduce((sum, { size }) => sum + size, 0) <= limits.bytes)
          t.is(window.from, 7);
      },
    ),
  );
});
