import test from 'ava';
import { letGather } from '../../projections/running/gathering.js';

const never = new AbortController().signal;
const aDay = 24 * 60 * 60 * 1_000;

test('who hurries ends the rest at hand, or has the next one left out', async (t) => {
  const gathering = letGather(aDay);
  const resting = gathering.rest(1, never);
  t.truthy(resting);
  gathering.hurry();
  await resting;
  gathering.hurry();
  gathering.hurry();
  t.is(gathering.rest(1, never), undefined);
  const again = gathering.rest(1, never);
  t.truthy(again, 'one hurry leaves out one rest');
  gathering.hurry();
  await again;
});

test('a rest ends with its time, and when it is to end', async (t) => {
  await letGather(1).rest(1, never);
  const stop = new AbortController();
  const resting = letGather(aDay).rest(1, stop.signal);
  stop.abort();
  await resting;
  await letGather(aDay).rest(1, stop.signal);
  t.pass();
});

test('after less than is enough nobody rests', async (t) => {
  const gathering = letGather(aDay, 8);
  t.is(gathering.rest(7, never), undefined);
  const resting = gathering.rest(8, never);
  t.truthy(resting);
  gathering.hurry();
  await resting;
});
