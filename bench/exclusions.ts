import { ExclusionsService } from '../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { connect } from '../src/rpc/client.js';
import { createJobPath, makeScene, measure, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { row, table } from './table.js';

// What do standing exclusions cost a CreateJob that is answered with a past job? Beside it, in the same run on the same server: the
// same without any. And how long does it take to order one on many jobs, of which the whole log has to be looked at?
//
//     node build/bench/exclusions.js [jobs, 100000 unless given] [seconds of each measurement, 4 unless given]

const jobs = Number(process.argv[2] ?? 100_000);
const seconds = Number(process.argv[3] ?? 4);
const reason = 'bench';

const scene = makeScene();
try {
  const server = await scene.serve('data', (store, seed) => seedJobs(store, seed, 0, jobs));
  const connection = connect(`127.0.0.1:${server.port}`, 'bench');
  const exclusions = connection.service(ExclusionsService);
  const body = numbered(scene.seed, scene.seed.commit);
  const hits = (concurrency: number) =>
    measure({ port: server.port, path: createJobPath, body: (n) => body(n % jobs), concurrency, seconds });
  const rows: string[][] = [];
  const base = { one: await hits(1), many: await hits(64) };
  rows.push(row('none, 1 at a time', base.one), row('none, 64 at a time', base.many));

  async function both(name: string): Promise<void> {
    rows.push(row(`${name}, 1 at a time`, await hits(1), base.one));
    rows.push(row(`${name}, 64 at a time`, await hits(64), base.many));
  }
  for (let i = 0; i < 1_000; i++) {
    await exclusions.excludeFromReuse({ target: { case: 'output', value: `sha256:gone-${i}` }, reason });
  }
  await both('1,000 of outputs');
  const range = { repository: 'bench', introducedBy: 'later' };
  await exclusions.excludeFromReuse({ target: { case: 'commitRange', value: range }, reason });
  await both('and a range');
  for (let i = 0; i < 10; i++) {
    const target = { case: 'output', value: `sha256:wrong-${i}` } as const;
    await exclusions.excludeFromReuse({ target, reason, cascade: true });
  }
  await both('and 10 with cascade');
  process.stdout.write(`${table(['standing exclusions', 'calls/s', 'p50 µs', 'p99 µs', 'of none'], rows)}\n`);

  for (const commit of ['later', 'main']) {
    const target = { case: 'commit', value: { repository: 'bench', commit } } as const;
    const begun = performance.now();
    const { hitCount } = await exclusions.excludeFromReuse({ target, reason, cascade: true, dryRun: true });
    const took = Math.round(performance.now() - begun);
    process.stdout.write(`dry run with cascade over ${jobs} jobs, of which it hits ${hitCount}: ${took} ms\n`);
  }
  connection.close();
  await server.stop();
} finally {
  scene.dispose();
}
