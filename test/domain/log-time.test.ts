import test from 'ava';
import fc from 'fast-check';
import { steadyTimes, witnesses } from '../../src/domain/log-time.js';

const farAway = Date.UTC(2036, 0);

/** Times as a clock that only goes forwards gives them. */
const clock = (count: { min: number; max: number }) =>
  fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: count.min, maxLength: count.max }).map((steps) => {
    let now = 1_000_000;
    return steps.map((step) => {
      now += step;
      return now;
    });
  });

/** The definition, word by word. */
function naive(recorded: readonly number[], now = Number.MAX_SAFE_INTEGER): number[] {
  const believed = recorded.map((time, i) => {
    const after = recorded.slice(i + 1, i + 1 + witnesses).sort((a, b) => a - b);
    return time <= now && (after.length === 0 || time <= (after[Math.floor(after.length / 2)] as number));
  });
  const first = recorded[believed.indexOf(true)];
  return recorded.map((_, i) => {
    const upTo = recorded.slice(0, i + 1).filter((_time, j) => believed[j]);
    return upTo.length > 0 ? Math.max(...upTo) : (first ?? Number.MIN_SAFE_INTEGER);
  });
}

test('where clocks only went forwards the times are those that were recorded', (t) => {
  fc.assert(
    fc.property(clock({ min: 0, max: 900 }), (recorded) => {
      t.deepEqual(steadyTimes(recorded, recorded.length), recorded);
    }),
    { numRuns: 20 },
  );
});

test('the times are as defined, and never go back', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 700 }),
      fc.option(fc.nat(50)),
      (recorded, now) => {
        const times = steadyTimes(recorded, recorded.length, undefined, now ?? undefined);
        t.deepEqual(times, naive(recorded, now ?? undefined));
        t.true(times.every((time, i) => i === 0 || time >= (times[i - 1] as number)));
      },
    ),
    { numRuns: 40 },
  );
});

test('a section gives what the whole log gives', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(1_000), { minLength: 1, maxLength: 1_500 }), fc.nat(), fc.nat(), (recorded, a, b) => {
      const from = a % recorded.length;
      const count = b % (recorded.length - from + 1);
      const whole = steadyTimes(recorded, recorded.length);
      // Before the first believed one the time is not known yet.
      if (from > 0 ? whole[from - 1] === whole[0] : !recorded.slice(0, count).includes(whole[0] as number)) return;
      const section = recorded.slice(from, from + count + witnesses);
      t.deepEqual(steadyTimes(section, count, whole[from - 1]), whole.slice(from, from + count));
    }),
    { numRuns: 40 },
  );
});

test('wrong times, of up to 256 events in a row, bend no others', (t) => {
  fc.assert(
    fc.property(
      clock({ min: 30, max: 1_200 }),
      fc.nat(),
      fc.integer({ min: 1, max: 256 }),
      fc.constantFrom(0, farAway),
      (recorded, place, length, wrong) => {
        // As many right ones after them at least: of the end of a log nobody can say yet what was wrong.
        const run = Math.min(length, Math.floor(recorded.length / 2));
        const at = place % (recorded.length - 2 * run + 1);
        const spoilt = recorded.map((time, i) => (i >= at && i < at + run ? wrong : time));
        const times = steadyTimes(spoilt, spoilt.length);
        for (const [i, time] of times.entries()) {
          if (i < at || i >= at + run) t.is(time, recorded[i] as number);
        }
        t.true(times.every((time, i) => i === 0 || time >= (times[i - 1] as number)));
      },
    ),
    { numRuns: 60 },
  );
});

test('a time after now is no time of an event that is there', (t) => {
  t.deepEqual(steadyTimes([10, 20, farAway], 3), [10, 20, farAway]);
  t.deepEqual(steadyTimes([10, 20, farAway], 3, undefined, 25), [10, 20, 20]);
  t.deepEqual(steadyTimes([farAway, 20, 30], 3), [20, 20, 30]);
});
