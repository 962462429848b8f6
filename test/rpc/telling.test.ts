import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { type Telling, telling } from '../../src/rpc/telling.js';

async function all<P, R>(told: AsyncIterable<Telling<P, R>>): Promise<Telling<P, R>[]> {
  const those: Telling<P, R>[] = [];
  for await (const one of told) those.push(one);
  return those;
}

test('what is told comes in its order, much of it at once, and the end last', async (t) => {
  const told = await all(
    telling<number, string>(async (tell) => {
      tell(1);
      for (let i = 2; i <= 9; i++) {
        await turn();
        tell(i);
      }
      return 'all';
    }, 60_000),
  );
  t.deepEqual(told.at(-1), { done: 'all' });
  t.is(told.length, 3, 'the first at once, the rest with the end');
  t.deepEqual(
    told.flatMap((one) => ('told' in one ? one.told : [])),
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
});

test('work that tells nothing gives its end alone, and what it throws is thrown behind what it told', async (t) => {
  t.deepEqual(await all(telling(async () => 5)), [{ done: 5 }]);
  const seen: unknown[] = [];
  const failing = telling<number, never>(async (tell) => {
    tell(1);
    await turn();
    throw new Error('no more');
  });
  await t.throwsAsync(
    async () => {
      for await (const one of failing) seen.push(one);
    },
    { message: 'no more' },
  );
  t.deepEqual(seen, [{ told: [1] }]);
});
