import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { alignLeaves, type Gap, type LeafRun } from '../../../src/domain/log-tree/align-leaves.js';

const hashOf = (n: number) => createHash('sha256').update(String(n)).digest();
const run = (numbers: readonly number[]): LeafRun => ({
  hashes: Buffer.concat(numbers.map(hashOf)),
  positions: numbers,
});

/** Cuts a sequence into pieces of the given lengths, over and over. */
function* pieces(numbers: readonly number[], lengths: readonly number[]): Generator<LeafRun> {
  for (let at = 0, i = 0; at < numbers.length; i++) {
    const length = lengths[i % lengths.length] ?? 1;
    yield run(numbers.slice(at, at + length));
    at += length;
  }
}

function align(
  expected: readonly number[],
  found: readonly number[],
  cuts: readonly number[],
  window = 8,
  widest = 64,
) {
  const left = pieces(expected, cuts);
  const aligner = alignLeaves({ next: () => left.next().value as LeafRun | undefined, window, widest });
  for (const piece of pieces(found, [...cuts].reverse())) aligner.take(piece);
  return aligner.finish();
}

/** The second sequence, made of the first and the gaps. */
function applied(expected: readonly number[], gaps: readonly Gap[]): number[] {
  const made: number[] = [];
  let at = 0;
  for (const gap of gaps) {
    made.push(...expected.slice(at, gap.expectedFrom));
    if (made.length !== gap.foundFrom) throw new Error(`a gap at ${gap.foundFrom}, not at ${made.length}`);
    made.push(...gap.found.map(({ position }) => position));
    at = gap.expectedFrom + gap.expectedCount;
  }
  return [...made, ...expected.slice(at)];
}

const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 });

test('the gaps make the one sequence of the other, whatever was done', (t) => {
  const edit = fc.record({ at: fc.nat(), drop: fc.nat(30), put: fc.nat(5) });
  fc.assert(
    fc.property(fc.nat(200), fc.array(edit, { maxLength: 5 }), cuts, (length, edits, lengths) => {
      const expected = Array.from({ length }, (_, i) => i);
      const found = [...expected];
      let fresh = 1_000;
      for (const { at, drop, put } of edits) {
        const place = found.length === 0 ? 0 : at % found.length;
        found.splice(place, drop, ...Array.from({ length: put }, () => fresh++));
      }
      const gaps = align(expected, found, lengths);
      t.deepEqual(applied(expected, gaps), found);
      for (const { expected: gone } of gaps) for (const { index, position } of gone) t.is(index, position);
    }),
  );
});

test('one difference is one gap, just as large as it is', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 150 }),
      fc.nat(),
      fc.nat(30),
      fc.nat(5),
      cuts,
      (length, any, drop, put, lengths) => {
        const expected = Array.from({ length }, (_, i) => i);
        const at = any % length;
        const gone = Math.min(drop, length - at);
        const found = expected.toSpliced(at, gone, ...Array.from({ length: put }, (_, i) => 1_000 + i));
        const gaps = align(expected, found, lengths);
        const seen = gaps.map(({ expectedFrom, expectedCount, foundCount }) => [
          expectedFrom,
          expectedCount,
          foundCount,
        ]);
        t.deepEqual(seen, gone + put === 0 ? [] : [[at, gone, put]]);
      },
    ),
  );
});

test('where the first sequence has ended already, the rest of the second is waited for', (t) => {
  const expected = Array.from({ length: 118 }, (_, i) => i);
  const found = expected.toSpliced(105, 9, 1_000, 1_001, 1_002, 1_003);
  // All pieces of the second: one ends where just a window of it is there, and the first has no more.
  for (let length = 1; length <= 20; length++) {
    const gaps = align(expected, found, [length]);
    t.deepEqual(
      gaps.map(({ expectedFrom, expectedCount, foundCount }) => [expectedFrom, expectedCount, foundCount]),
      [[105, 9, 4]],
      `pieces of ${length}`,
    );
  }
});

test('a meeting is looked for among all that one side has left, however few the other has', (t) => {
  const expected = Array.from({ length: 60 }, (_, i) => i);
  const gaps = align(expected, [0, 1, 58, 59], [60]);
  t.deepEqual(
    gaps.map(({ expectedFrom, expectedCount, foundCount }) => [expectedFrom, expectedCount, foundCount]),
    [[2, 56, 0]],
  );
});

test('sequences with nothing in common are one gap, however long, and not all of it is told', (t) => {
  const expected = Array.from({ length: 5_000 }, (_, i) => i);
  const found = Array.from({ length: 3_000 }, (_, i) => 10_000 + i);
  const left = pieces(expected, [256]);
  const aligner = alignLeaves({
    next: () => left.next().value as LeafRun | undefined,
    window: 64,
    widest: 256,
    most: 50,
  });
  for (const piece of pieces(found, [100])) aligner.take(piece);
  const gaps = aligner.finish();
  t.is(gaps.length, 1);
  t.like(gaps[0], { expectedFrom: 0, expectedCount: 5_000, foundFrom: 0, foundCount: 3_000 });
  t.is((gaps[0]?.expected.length ?? 0) + (gaps[0]?.found.length ?? 0), 50);
});
