import test from 'ava';
import { watchLogEnd } from '../../src/jobs/log-end.js';

// What proves that a server was at the end of the log lately, and what does not.

/** A log whose end is answered when the test says so, and a read model that is where the test says. */
function scene(within = 250) {
  let now = 0;
  let position = 7;
  const broken: (() => void)[] = [];
  const remade: ((why: string) => void)[] = [];
  const asked: { answer: (end: number) => void; fail: (error: Error) => void }[] = [];
  const store = {
    exclusive: false,
    end: () => new Promise<number>((answer, fail) => void asked.push({ answer, fail })),
  };
  const readModel = {
    position: () => position,
    onBroken: (listener: () => void) => void broken.push(listener),
    onRemade: (listener: (why: string) => void) => void remade.push(listener),
  };
  const logEnd = watchLogEnd(store, readModel, within, { monotonic: () => now });
  return {
    logEnd,
    asked,
    pass: (ms: number) => (now += ms),
    moveTo: (to: number) => (position = to),
    breaks: () => broken.forEach((listener) => void listener()),
    isRemade: () => remade.forEach((listener) => void listener('damaged')),
    /** The look under way ends. */
    async answer(end: number | Error) {
      const look = asked.at(-1);
      if (end instanceof Error) look?.fail(end);
      else look?.answer(end);
      await new Promise(setImmediate);
    },
  };
}

test('what is at or behind the end that a look gave counts as long as the look began within the time', async (t) => {
  const { logEnd, pass, answer, asked } = scene();
  t.false(logEnd.isBefore(7));
  // The time of the answer does not count, but that of the question.
  pass(200);
  await answer(7);
  t.true(logEnd.isBefore(7));
  t.true(logEnd.isBefore(8));
  t.false(logEnd.isBefore(6), 'the candidates were read before');
  pass(50);
  t.true(logEnd.isBefore(7));
  pass(1);
  t.false(logEnd.isBefore(7));
  t.is(asked.length, 2, 'one look at a time, and none that nobody asks for');
});

test('a read model that is not there yet proves nothing until it is, and an older look holds meanwhile', async (t) => {
  const { logEnd, pass, answer } = scene();
  logEnd.isBefore(7);
  await answer(7);
  pass(100);
  t.true(logEnd.isBefore(7));
  await answer(12);
  t.true(logEnd.isBefore(7));
  pass(151);
  t.false(logEnd.isBefore(7));
  t.true(logEnd.isBefore(12));
});

test('a look proves nothing that failed, found a shorter or an empty log, or began before the log was doubted', async (t) => {
  for (const end of [new Error('away'), 6, 0]) {
    const { logEnd, answer } = scene();
    logEnd.isBefore(7);
    await answer(end);
    t.false(logEnd.isBefore(7), String(end));
  }
  for (const event of ['breaks', 'isRemade'] as const) {
    const one = scene();
    one.logEnd.isBefore(7);
    one[event]();
    await one.answer(7);
    t.false(one.logEnd.isBefore(7), event);
    one.pass(100);
    one.logEnd.isBefore(7);
    await one.answer(7);
    t.true(one.logEnd.isBefore(7));
    one[event]();
    t.false(one.logEnd.isBefore(7), event);
  }
});

test('nothing is looked at where the store is of one process, or the setting is 0', (t) => {
  const { logEnd, asked } = scene(0);
  t.false(logEnd.isBefore(7));
  const unused = () => t.fail();
  const readModel = { position: () => 7, onBroken: unused, onRemade: unused };
  const store = { exclusive: true, end: async () => 7 };
  t.false(watchLogEnd(store, readModel, 250, { monotonic: () => 0 }).isBefore(7));
  t.is(asked.length, 0);
});
