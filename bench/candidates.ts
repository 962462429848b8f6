import { createJobPath, makeScene, measure, numbered } from './scene.js';
import { seedRuns } from './seed.js';
import { row, table } from './table.js';

// Does an answer with a past job take longer when the computation has been run more often? 256 calls at a time for one computation
// with 1, 100 and 10,000 complete runs.
//
//     node build/bench/candidates.js

const concurrency = 256;
const seconds = 4;

const scene = makeScene();
try {
  const rows: string[][] = [];
  for (const runs of [1, 100, 10_000]) {
    const server = await scene.serve(String(runs), (store, seed) => seedRuns(store, seed, 0, runs));
    const body = numbered(scene.seed, scene.seed.commit);
    const measured = await measure({
      port: server.port,
      path: createJobPath,
      body: () => body(0),
      concurrency,
      seconds,
    });
    rows.push(row(`${runs.toLocaleString('en')} candidates`, measured).slice(0, 4));
    await server.stop();
  }
  process.stdout.write(`${table([`reused, ${concurrency} at a time`, 'calls/s', 'p50 µs', 'p99 µs'], rows)}\n`);
} finally {
  scene.dispose();
}
