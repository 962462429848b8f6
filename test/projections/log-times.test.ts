import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { historyProjections } from '../../projections/all.js';
import { logTimeQueries } from '../../projections/history/log-times.js';
import { steadyTimes } from '../../src/domain/log-time.js';
import { collect } from '../contract/events.js';
import { same } from '../support/same.js';
import { catchUp, openScratch } from './scratch.js';

/** Records events at these times, and asks for the position before any of some times, as known at `now`. */
async function asks(t: ExecutionContext, recorded: readonly number[], asked: readonly number[], now: number) {
  let clock = 0;
  const scratch = await openScratch(() => clock);
  try {
    for (const time of recorded) {
      clock = time;
      await scratch.store.append('job-1', 'any', [{ id: randomUUID(), type: 'Other', data: '{}', metadata: '{}' }]);
    }
    const events = await collect(scratch.store.readAll());
    t.deepEqual(
      events.map(({ recordedAt }) => recordedAt),
      recorded,
    );
    const path = scratch.path('history.sqlite');
    await catchUp(scratch.store, path, { projections: historyProjections, batches: 3, batchSize: 37 });
    const rows = await catchUp(scratch.store, path, { projections: historyProjections, batchSize: 100 });
    same(t, rows, await catchUp(scratch.store, scratch.path('again.sqlite'), { projections: historyProjections }));
    const db = new Database(path, { readonly: true });
    const times = logTimeQueries(db);
    t.is(times.events(), events.length);
    const steady = steadyTimes(recorded, recorded.length, undefined, now);
    for (const time of asked) {
      const first = steady.findIndex((one) => one >= time);
      const right = events[(first < 0 ? events.length : first) - 1]?.position ?? 0;
      t.is(times.before(time, now), right, `${time}`);
    }
    for (let i = 0; i < events.length; i += 29)
      t.is(times.at(events[i]?.position ?? 0, now), steady[i] as number, `${i}`);
    t.is(times.at(0, now), 0);
    db.close();
  } finally {
    await scratch.close();
  }
}

test('the position before any time is found, however clocks were set', async (t) => {
  let now = 100_000;
  const recorded = fc.sample(fc.integer({ min: -40, max: 60 }), { numRuns: 1_400, seed: 7 }).map((step) => {
    now += step;
    return now;
  });
  const highest = Math.max(...recorded);
  const asked = Array.from({ length: 300 }, (_, i) => 99_000 + i * ((highest - 98_000) / 300));
  await asks(t, recorded, asked, highest);
});

test('times of years ahead, at the beginning, amid, at the end, one or hundreds of them, hide no event after them', async (t) => {
  const years = 10 * 365 * 86_400_000;
  const wrong = (i: number) => i === 0 || i === 600 || (i >= 800 && i < 1_200) || i > 1_395;
  const recorded = Array.from({ length: 1_400 }, (_, i) => 1_000_000 + i * 10 + (wrong(i) ? years : 0));
  const asked = [0, 1_000_000, 1_000_015, 1_006_005, 1_008_500, 1_011_990, 1_012_005, 1_013_950, 1_014_000];
  await asks(t, recorded, asked, 1_014_000);
});
