import { startChild } from './child-server.js';
import { type Body, countEvents, createJobPath, identified, makeScene, measure, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { row, table } from './table.js';

// How fast does CreateJob answer, with a past job and with a new one, each durably recorded? Beside it, in the same run and the same
// layout of processes: a bare grpc-js server that answers with the bytes it was sent. And the same with a submit_id of each request, which
// is recorded first.
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
  const counts = { created: seeded, reused: 0, intended: 0 };
  const rows: string[][] = [];
  for (const concurrency of concurrencies) {
    const load = { concurrency, seconds };
    const base = await measure({ ...load, port: echo.port, path: '/bench.Echo/Echo', body: byHash });
    rows.push(row(`echo, ${concurrency} at a time`, base));
    const create = { ...load, port: memoir.port, path: createJobPath };
    const hitOf =
      (body: Body): Body =>
      (n) =>
        body(n % seeded);
    for (const [name, body, intended] of [
      ['  reused, by hash', hitOf(byHash)],
      ['  reused, by branch', hitOf(byBranch)],
      ['  reused, with a submit_id', identified(hitOf(byHash), `reused-${concurrency}-`), true],
    ] as [string, Body, boolean?][]) {
      const hit = await measure({ ...create, body });
      counts.reused += hit.calls;
      if (intended) counts.intended += hit.calls;
      rows.push(row(name, hit, base));
    }
    for (const intended of [false, true]) {
      const first = counts.created;
      const fresh: Body = (n) => byHash(first + n);
      const body = intended ? identified(fresh, `created-${concurrency}-`) : fresh;
      const made = await measure({ ...create, body });
      counts.created += made.calls;
      if (intended) counts.intended += made.calls;
      rows.push(row(intended ? '  created, with a submit_id' : '  created', made, base));
    }
  }
  await memoir.stop();
  await echo.stop();
  const events = await countEvents(memoir.log);
  const kinds = { created: 'JobRequested', reused: 'JobReused', intended: 'SubmissionIntended' } as const;
  if ((['created', 'reused', 'intended'] as const).some((kind) => events.get(kinds[kind]) !== counts[kind])) {
    throw new Error(`${JSON.stringify(counts)} were to be in the log, there are ${JSON.stringify([...events])}`);
  }
  process.stdout.write(`${table(['CreateJob', 'calls/s', 'p50 µs', 'p99 µs', 'of echo'], rows)}\n`);
  process.stdout.write(`the log has all ${counts.created} jobs and ${counts.reused} answers\n`);
} finally {
  scene.dispose();
}
