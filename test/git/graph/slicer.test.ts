import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { createSlicer } from '../../../src/git/graph/slicer.js';

function* counting(steps: number, done: string): Generator<undefined, string> {
  const spin = (milliseconds: number) => {
    const until = performance.now() + milliseconds;
    while (performance.now() < until);
  };
  for (let i = 0; i < steps; i++) {
    spin(1);
    yield;
  }
  return done;
}

test('much work at once is done in turns, with a turn for everything else after each slice', async (t) => {
  const slicer = createSlicer();
  let turns = 0;
  let working = true;
  const watching = (async () => {
    while (working) {
      await turn();
      turns++;
    }
  })();
  const finished: string[] = [];
  const works = [40, 20, 20, 1].map((steps, i) =>
    slicer.run(counting(steps, `work ${i}`)).then((done) => finished.push(done)),
  );
  await Promise.all(works);
  working = false;
  await watching;
  t.is(finished[0], 'work 3');
  t.is(finished.at(-1), 'work 0');
  t.true(turns >= 12, `${turns} turns`);
});

test('much short work, each begun when the one before is done, leaves turns for everything else too', async (t) => {
  const slicer = createSlicer();
  let turns = 0;
  let working = true;
  const watching = (async () => {
    while (working) {
      await turn();
      turns++;
    }
  })();
  for (let i = 0; i < 60; i++) await slicer.run(counting(1, 'done'));
  working = false;
  await watching;
  t.true(turns >= 6, `${turns} turns`);
});

test('work that throws rejects, and the next goes on', async (t) => {
  const slicer = createSlicer();
  // biome-ignore lint/correctness/useYield: it fails before it comes to that
  function* failing(): Generator<undefined, never> {
    throw new Error('no');
  }
  const failed = slicer.run(failing());
  const next = slicer.run(counting(2, 'done'));
  await t.throwsAsync(failed, { message: 'no' });
  t.is(await next, 'done');
});
