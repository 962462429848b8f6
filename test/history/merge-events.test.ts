import test from 'ava';
import fc from 'fast-check';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { mergeEvents, type Source } from '../../src/history/merge-events.js';
import { collect } from '../contract/events.js';
import { same } from '../support/same.js';

const at = (position: number) => ({ position }) as RecordedEvent;

test('sources come out in the order of the log, each opened when its place comes and closed in the end', async (t) => {
  const placed = fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(placed, fc.nat(70), async (sourceOf, wanted) => {
      const positions = new Map<number, number[]>();
      for (const [position, source] of sourceOf.entries()) {
        positions.set(source, [...(positions.get(source) ?? []), position]);
      }
      let open = 0;
      let reached = -1;
      const sources: Source[] = [...positions.values()]
        .map((own) => ({
          from: own[0] as number,
          async *read() {
            t.true(reached >= (own[0] as number) - 1);
            open++;
            try {
              yield* own.map(at);
            } finally {
              open--;
            }
          },
        }))
        .sort((a, b) => a.from - b.from);
      const seen: number[] = [];
      for await (const { position } of mergeEvents(sources)) {
        if (seen.length >= wanted) break;
        seen.push(position);
        reached = position;
      }
      t.deepEqual(seen, [...sourceOf.keys()].slice(0, wanted));
      t.is(open, 0);
    }),
  );
});

test('sources without events are passed over', async (t) => {
  const none = { from: 0, async *read() {} };
  const one = {
    from: 3,
    read: async function* () {
      yield at(5);
    },
  };
  same(t, await collect(mergeEvents([none, one, { ...none, from: 9 }])), [at(5)]);
});
