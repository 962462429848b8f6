import test from 'ava';
import { letGather } from '../../projections/running/gathering.js';

const never = new AbortController().signal;
const aDay = 24 * 60 * 60 * 1_000;

test('who hurries ends the rest at hand, or has the next one left out', async (t) => {
  const gathering = letGather(aDay);
  const resting = gathering.rest(false, never);
  t.truthy(resting);
  gathering.hurry();
  await resting;
  gathering.hurry();
  gathering.hurry();
  t.is(gathering.rest(false, never), undefined);
  const again = gathering.rest(false, never);
  t.truthy(again, 'one hurry leaves out one rest');
  gathering.hurry();
  await again;
});

test('a rest ends with its time, and when it is to end', async (t) => {
  await letGather(1).rest(false, never);
  const stop = new AbortController();
  const resting = letGather(aDay).rest(false, stop.signal);
  stop.abort();
  await resting;
  await letGather(aDay).rest(false, stop.signal);
  t.pass();
});

test('who rests only when busy goes on at once otherwise', async (t) => {
  const gathering = letGather(aDay, true);
  t.is(gathering.rest(false, never), undefined);
  const resting = gathering.rest(true, never);
  t.truthy(resting);
  gathering.hurry();
  await resting;
});
