import { randomUUID } from 'node:crypto';
import test from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { historyProjections } from '../../projections/all.js';
import { logTimeQueries } from '../../projections/history/log-times.js';
import { collect } from '../contract/events.js';
import { catchUp, openScratch } from './scratch.js';

test('the position before any time is found, however clocks were set', async (t) => {
  let now = 0;
  const scratch = await openScratch(() => now);
  try {
    const steps = fc.sample(fc.integer({ min: -40, max: 60 }), { numRuns: 900, seed: 7 });
    for (const step of steps) {
      now += step;
      const id = randomUUID();
      await scratch.store.append('job-1', 'any', [{ id, type: 'Other', data: '{}', metadata: '{}' }]);
    }
    const events = await collect(scratch.store.readAll());
    const path = scratch.path('history.sqlite');
    await catchUp(scratch.store, path, { projections: historyProjections, batches: 3, batchSize: 37 });
    const rows = await catchUp(scratch.store, path, { projections: historyProjections, batchSize: 100 });
    t.deepEqual(rows, await catchUp(scratch.store, scratch.path('again.sqlite'), { projections: historyProjections }));
    const db = new Database(path, { readonly: true });
    const times = logTimeQueries(db);
    t.is(times.events(), events.length);
    const highest = Math.max(...events.map(({ recordedAt }) => recordedAt));
    for (let time = -200; time <= highest + 50; time += 7) {
      const first = events.findIndex(({ recordedAt }) => recordedAt >= time);
      const exact = events[first < 0 ? events.length - 1 : first - 1]?.position ?? 0;
      const found = times.before(time);
      t.true(found <= exact && exact - found < 256, `${time}: ${found}, ${exact}`);
    }
    db.close();
  } finally {
    await scratch.close();
  }
});
