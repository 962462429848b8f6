import { startChild } from './child-server.js';
import { type Body, countEvents, createJobPath, makeScene, measure, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { row, table } from './table.js';

// How fast does CreateJob answer, with a past job and with a new one, each durably recorded? Beside it, in the same run and the same
// layout of processes: a bare grpc-js server that answers with the bytes it was sent.
//
//     node build/bench/calls.js [seconds of each measurement, 4 unless given]

const concurrencies = [1, 8, 64, 256];
const seeded = 10_000;
const seconds = Number(process.argv[2] ?? 4);

const scene = makeScene();
try {
  const memoir = await scene.serve('data', (store, seed) => seedJobs(store, seed, 0, seeded));
  const echo = await startChild('echo-server');
  const byHash = numbered(scene.seed, scene.seed.commit);
  const byBranch = numbered(scene.seed, 'main');
  const counts = { created: seeded, reused: 0 };
  const rows: string[][] = [];
  for (const concurrency of concurrencies) {
    const load = { concurrency, seconds };
    const base = await measure({ ...load, port: echo.port, path: '/bench.Echo/Echo', body: byHash });
    rows.push(row(`echo, ${concurrency} at a time`, base));
    const create = { ...load, port: memoir.port, path: createJobPath };
    for (const [name, body] of [
      ['  reused, by hash', byHash],
      ['  reused, by branch', byBranch],
    ] as [string, Body][]) {
      const hit = await measure({ ...create, body: (n) => body(n % seeded) });
      counts.reused += hit.calls;
      rows.push(row(name, hit, base));
    }
    const first = counts.created;
    const made = await measure({ ...create, body: (n) => byHash(first + n) });
    counts.created += made.calls;
    rows.push(row('  created', made, base));
  }
  await memoir.stop();
  await echo.stop();
  const events = await countEvents(memoir.log);
  if (events.get('JobRequested') !== counts.created || events.get('JobReused') !== counts.reused) {
    throw new Error(`${JSON.stringify(counts)} were to be in the log, there are ${JSON.stringify([...events])}`);
  }
  process.stdout.write(`${table(['CreateJob', 'calls/s', 'p50 µs', 'p99 µs', 'of echo'], rows)}\n`);
  process.stdout.write(`the log has all ${counts.created} jobs and ${counts.reused} answers\n`);
} finally {
  scene.dispose();
}
