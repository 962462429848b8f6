import { createJobPath, makeScene, measure, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { row, table } from './table.js';

// Does an answer with a past job take longer when there are more jobs? The same load on a server with few and one with many.
//
//     node build/bench/index-size.js [many, 1000000 unless given]

const few = 10_000;
const many = Number(process.argv[2] ?? 1_000_000);
const seconds = 4;
const rounds = 3;

const scene = makeScene();
try {
  const servers = await Promise.all(
    [few, many].map(async (jobs) => ({
      jobs,
      server: await scene.serve(String(jobs), (store, seed) => seedJobs(store, seed, 0, jobs)),
    })),
  );
  const body = numbered(scene.seed, scene.seed.commit);
  const rows: string[][] = [];
  for (const concurrency of [1, 64]) {
    const medians = new Map<number, number>();
    for (const { jobs, server } of servers) {
      let best: Awaited<ReturnType<typeof measure>> | undefined;
      for (let i = 0; i < rounds; i++) {
        // Multiples of a prime visit the jobs in no order that an index knows.
        const any = (n: number) => body((n * 7_919_191 + i * 104_729) % jobs);
        const measured = await measure({ port: server.port, path: createJobPath, body: any, concurrency, seconds });
        if (!best || measured.rate > best.rate) best = measured;
      }
      if (!best) continue;
      medians.set(jobs, best.histogram.getValueAtPercentile(50));
      rows.push(row(`${jobs.toLocaleString('en')} jobs, ${concurrency} at a time`, best).slice(0, 4));
    }
    const ratio = (medians.get(many) ?? 0) / (medians.get(few) ?? 1);
    rows.push([`  ratio of p50, ${concurrency} at a time`, '', ratio.toFixed(2), '']);
  }
  for (const { server } of servers) await server.stop();
  process.stdout.write(`${table(['reused, any of', 'calls/s', 'p50 µs', 'p99 µs'], rows)}\n`);
} finally {
  scene.dispose();
}
