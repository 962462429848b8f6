import test from 'ava';
import { createTurns } from '../../src/history/turns.js';

test('loops go on in turns, and everything else between them', async (t) => {
  const turns = createTurns();
  const order: number[] = [];
  let others = 0;
  const ticker = setInterval(() => others++, 0);
  const loop = async (name: number) => {
    for (let i = 0; i < 20; i++) {
      await turns.next();
      order.push(name);
      // Work that would hold everything up if all of it were done at once.
      for (const end = performance.now() + 1; performance.now() < end; );
    }
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => loop(i)));
  clearInterval(ticker);
  for (let i = 0; i < order.length; i += 50) t.is(new Set(order.slice(i, i + 50)).size, 50, `round ${i / 50}`);
  t.true(others > 60, `${others} other turns in a second of work`);
});
