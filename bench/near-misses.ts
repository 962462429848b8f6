import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { connect } from '../src/rpc/client.js';
import { percentile } from './percentile.js';
import { makeScene } from './scene.js';
import { seedJobs } from './seed.js';
import { table } from './table.js';

// How long does it take to tell what is nearest to a new job, among many of the same script? ExplainReuse, one call at a time, of parameters that nobody
// had: in turns of such that differ from other jobs in one, and in all.
//
//     node build/bench/near-misses.js [jobs, 100000 unless given] [calls of each kind, 500 unless given]

const [jobs = 100_000, calls = 500] = process.argv.slice(2, 4).map(Number);

const scene = makeScene();
try {
  const server = await scene.serve('data', (store, seed) => seedJobs(store, seed, 0, jobs));
  const connection = connect(`127.0.0.1:${server.port}`, 'bench');
  const client = connection.service(JobsService);
  const { repository, script, commit: scriptVersion } = scene.seed;
  const times = { one: [] as number[], all: [] as number[] };
  for (let i = 0; i < calls + 50; i++) {
    for (const kind of ['one', 'all'] as const) {
      const scriptParameters = kind === 'one' ? { sample: jobs + i, mode: 'paired' } : { other: i };
      const request = { repository, script, scriptVersion, scriptParameters: { ...scriptParameters } };
      const before = performance.now();
      const { nearMisses } = await client.explainReuse({ request });
      if (i >= 50) times[kind].push(performance.now() - before);
      const expected = kind === 'one' ? 1 : 3;
      if (nearMisses[0]?.differenceCount !== expected) throw new Error(`${kind}: another job is nearest`);
    }
  }
  const row = (name: string, of: readonly number[]) => [
    name,
    percentile(of, 0.5).toFixed(2),
    percentile(of, 0.99).toFixed(2),
  ];
  const rows = [row('one parameter differs', times.one), row('all parameters differ', times.all)];
  process.stdout.write(`${table([`ExplainReuse among ${jobs.toLocaleString('en')} jobs, ms`, 'p50', 'p99'], rows)}\n`);
  connection.close();
  await server.stop();
} finally {
  scene.dispose();
}
