import test from 'ava';
import fc from 'fast-check';
import { turnsByCaller } from '../../projections/lists/turns-by-caller.js';

test('whoever asks for much waits behind its own alone', (t) => {
  const turns = turnsByCaller<string>();
  for (let i = 0; i < 20; i++) turns.add('mallory', `m${i}`);
  turns.add('ada', 'a0');
  turns.add('bob', 'b0');
  turns.add('bob', 'b1');
  t.deepEqual([turns.size, turns.sizeOf('mallory'), turns.sizeOf('eve')], [23, 20, 0]);
  t.deepEqual(
    Array.from({ length: 6 }, () => turns.next()),
    ['m0', 'a0', 'b0', 'm1', 'b1', 'm2'],
  );
});

test('everything that waits is given once, and each caller’s in its order', (t) => {
  const step = fc.oneof(fc.record({ add: fc.nat(3) }), fc.constant('next' as const), fc.record({ remove: fc.nat(20) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const turns = turnsByCaller<number>();
      const waiting: { caller: string; item: number }[] = [];
      let count = 0;
      for (const one of steps) {
        if (one === 'next') {
          const given = turns.next();
          const place = waiting.findIndex(({ item }) => item === given);
          t.is(place < 0, waiting.length === 0);
          const caller = waiting[place]?.caller;
          t.is(
            waiting.findIndex((other) => other.caller === caller),
            place,
            'the first of its caller',
          );
          waiting.splice(place, place < 0 ? 0 : 1);
        } else if ('add' in one) {
          const caller = `c${one.add}`;
          turns.add(caller, count);
          waiting.push({ caller, item: count++ });
        } else {
          const place = waiting.findIndex(({ item }) => item === one.remove);
          t.is(turns.remove(waiting[place]?.caller ?? 'c0', one.remove), place >= 0);
          if (place >= 0) waiting.splice(place, 1);
        }
        t.is(turns.size, waiting.length);
      }
      const left = waiting.map(({ item }) => item);
      t.deepEqual(
        turns.clear().sort((a, b) => a - b),
        left.sort((a, b) => a - b),
      );
      t.is(turns.next(), undefined);
    }),
  );
});
