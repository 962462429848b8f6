import test from 'ava';
import fc from 'fast-check';
import { checkHistory, type Model, type Operation } from './checker.js';
import { type Answered, type Asked, computation } from './computation.js';

type Input = { readonly write: number } | 'read';

/** A register that holds a number. A write is answered with 0. */
const register: Model<number, Input, number> = {
  initial: 0,
  step: (state, input, output) => {
    if (input !== 'read') return [input.write];
    return output === undefined || output === state ? [state] : [];
  },
  key: String,
};

const op = <I, O>(from: number, to: number, input: I, output: O | undefined): Operation<I, O> => ({
  input,
  output,
  from,
  to: output === undefined ? Number.POSITIVE_INFINITY : to,
});

const cases: readonly [title: string, linearizable: boolean, ...Operation<Input, number>[]][] = [
  ['nothing', true],
  ['a read of what was written', true, op<Input, number>(0, 1, { write: 1 }, 0), op<Input, number>(2, 3, 'read', 1)],
  [
    'a read of what was written over',
    false,
    op<Input, number>(0, 1, { write: 1 }, 0),
    op<Input, number>(2, 3, 'read', 0),
  ],
  [
    'a read beside a write, of before it',
    true,
    op<Input, number>(0, 3, { write: 1 }, 0),
    op<Input, number>(1, 2, 'read', 0),
  ],
  ['a read beside a write, of it', true, op<Input, number>(0, 3, { write: 1 }, 0), op<Input, number>(1, 2, 'read', 1)],
  [
    'two reads beside a write, the later of before it',
    false,
    op<Input, number>(0, 9, { write: 1 }, 0),
    op<Input, number>(1, 2, 'read', 1),
    op<Input, number>(3, 4, 'read', 0),
  ],
  [
    'a write without an answer that is never seen',
    true,
    op<Input, number>(0, 0, { write: 1 }, undefined),
    op<Input, number>(5, 6, 'read', 0),
  ],
  [
    'one that is seen long after',
    true,
    op<Input, number>(0, 0, { write: 1 }, undefined),
    op<Input, number>(5, 6, 'read', 1),
  ],
  [
    'one that is seen and then is not',
    false,
    op<Input, number>(0, 0, { write: 1 }, undefined),
    op<Input, number>(5, 6, 'read', 1),
    op<Input, number>(7, 8, 'read', 0),
  ],
  [
    'a write that is seen before it was asked for',
    false,
    op<Input, number>(5, 6, { write: 1 }, 0),
    op<Input, number>(0, 1, 'read', 1),
  ],
];

for (const [title, linearizable, ...history] of cases) {
  test(`a register: ${title}`, (t) => t.is(checkHistory(history, register).linearizable, linearizable));
}

test('what happened in some order is linearizable, however its calls overlap; a read of what never was is not', (t) => {
  const operation = fc.record({
    write: fc.option(fc.integer({ min: 1, max: 3 })),
    before: fc.nat(5),
    after: fc.nat(5),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 12 }), (made) => {
      let state = 0;
      const history = made.map(({ write, before, after }, i) => {
        if (write !== null) state = write;
        const input: Input = write === null ? 'read' : { write };
        // It happened at i * 2, somewhere between its question and its answer.
        return op(i * 2 - before, i * 2 + 1 + after, input, write === null ? state : 0);
      });
      t.true(checkHistory(history, register).linearizable);
      t.false(checkHistory([...history, op<Input, number>(0, 99, 'read', 9)], register).linearizable);
    }),
    { numRuns: 50 },
  );
});

const create = (from: number, to: number, output?: Answered) =>
  op<Asked, Answered>(from, to, { kind: 'create' }, output);
const made = (uuid: string): Answered => ({ kind: 'job', uuid, reused: false });
const hit = (uuid: string): Answered => ({ kind: 'job', uuid, reused: true });
const claim = (from: number, to: number, token: string, output?: Answered['kind'], uuid = 'a') =>
  op<Asked, Answered>(from, to, { kind: 'claim', uuid, token }, output && ({ kind: output } as Answered));
const complete = (from: number, to: number, token: string, output?: Answered['kind'], uuid = 'a') =>
  op<Asked, Answered>(from, to, { kind: 'complete', uuid, token }, output && ({ kind: output } as Answered));
const cancel = (from: number, to: number, by: string, output?: Answered['kind'], uuid = 'a') =>
  op<Asked, Answered>(from, to, { kind: 'cancel', uuid, by }, output && ({ kind: output } as Answered));

const lives: readonly [title: string, linearizable: boolean, ...Operation<Asked, Answered>[]][] = [
  ['two requests at once, one job', true, create(0, 3, hit('a')), create(1, 2, made('a'))],
  ['two requests, two jobs', false, create(0, 3, made('a')), create(1, 2, made('b'))],
  ['a request that is answered with what nobody made', false, create(0, 1, hit('a'))],
  ['a request without an answer made it', true, create(0, 0), create(2, 3, hit('a')), create(4, 5, hit('a'))],
  ['two answers with what one made', false, create(0, 0), create(2, 3, hit('a')), create(4, 5, hit('b'))],
  [
    'a job is claimed and complete',
    true,
    create(0, 1, made('a')),
    claim(2, 3, 'x', 'done'),
    complete(4, 5, 'x', 'done'),
    create(6, 7, hit('a')),
  ],
  ['a job is given to two claims', false, create(0, 1, made('a')), claim(2, 9, 'x', 'done'), claim(3, 8, 'y', 'done')],
  ['the second claim is refused', true, create(0, 1, made('a')), claim(2, 9, 'x', 'refused'), claim(3, 8, 'y', 'done')],
  ['a claim without an answer took it', true, create(0, 1, made('a')), claim(2, 2, 'x'), claim(3, 4, 'y', 'refused')],
  ['a claim is refused although nobody has the job', false, create(0, 1, made('a')), claim(3, 4, 'y', 'refused')],
  [
    'a result of who does not hold the job',
    false,
    create(0, 1, made('a')),
    claim(2, 3, 'x', 'done'),
    complete(4, 5, 'y', 'done'),
  ],
  ['a cancelled job is not reused', true, create(0, 1, made('a')), cancel(2, 3, 'p', 'done'), create(4, 5, made('b'))],
  ['a cancelled job is reused', false, create(0, 1, made('a')), cancel(2, 3, 'p', 'done'), create(4, 5, hit('a'))],
  [
    'a job is cancelled twice by one, and refused to another',
    true,
    create(0, 1, made('a')),
    cancel(2, 3, 'p', 'done'),
    cancel(4, 5, 'p', 'done'),
    cancel(6, 7, 'q', 'refused'),
  ],
  [
    'a result and a cancellation at once: one of them',
    true,
    create(0, 1, made('a')),
    claim(2, 3, 'x', 'done'),
    complete(4, 7, 'x', 'refused'),
    cancel(5, 6, 'p', 'done'),
  ],
  [
    'a result and a cancellation at once: both',
    false,
    create(0, 1, made('a')),
    claim(2, 3, 'x', 'done'),
    complete(4, 7, 'x', 'done'),
    cancel(5, 6, 'p', 'done'),
  ],
];

for (const [title, linearizable, ...history] of lives) {
  test(`a computation: ${title}`, (t) => t.is(checkHistory(history, computation).linearizable, linearizable));
}
