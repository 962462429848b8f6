import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { connect } from '../src/rpc/client.js';
import { runLoad } from './http2-load.js';
import { type Body, batched, countEvents, createJobPath, createJobsPath, makeScene, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { table } from './table.js';

// How many jobs a second are answered by CreateJobs of 100, with past jobs, with new ones, and with those of others that are queued, which are
// joined, each durably recorded? Beside it, in the same run, CreateJob with one. Time is counted until the read model has what was recorded.
//
//     node build/bench/batches.js [jobs of each measurement, 20,000 unless given] [runs, 3 unless given]

const size = 100;
const seeded = 10_000;
const jobs = Number(process.argv[2] ?? 20_000);
/** Jobs under way at a time, in both. */
const atOnce = 400;
const rounds = Number(process.argv[3] ?? 3);

const scene = makeScene();
try {
  const memoir = await scene.serve('data', (store, seed) => seedJobs(store, seed, 0, seeded));
  const connection = connect(`127.0.0.1:${memoir.port}`, 'bench');
  const client = connection.service(JobsService);
  const body = numbered(scene.seed, scene.seed.commit);
  let recorded = 0;
  let last = seeded;

  /** Jobs a second until the read model has all of them. */
  async function rate(path: string, calls: number, concurrency: number, of: Body, principal: string): Promise<number> {
    const before = process.hrtime.bigint();
    const headers = { 'memoir-principal': principal };
    await runLoad({ port: memoir.port, path, body: of, concurrency, calls, headers });
    // A write of now is behind all of them.
    const { repository, script, commit: scriptVersion } = scene.seed;
    const { job, consistencyToken } = await client.createJob({ repository, script, scriptVersion });
    await client.getJob({ uuid: job?.uuid ?? '', consistencyToken });
    const seconds = Number(process.hrtime.bigint() - before) / 1e9;
    recorded += jobs + 1;
    return jobs / seconds;
  }

  const singly = (of: Body, principal = 'bench') => rate(createJobPath, jobs, atOnce, of, principal);
  const together = (of: Body, principal = 'bench') =>
    rate(createJobsPath, jobs / size, atOnce / size, batched(of, size), principal);
  const past: Body = (n) => body(n % seeded);
  /** Jobs that are not there yet. */
  const fresh = (): Body => {
    const first = last;
    last += jobs;
    return (n) => body(first + n);
  };
  await singly(past);
  await together(past);
  const rows: string[][] = [];
  for (let round = 1; round <= rounds; round++) {
    const [some, others] = [fresh(), fresh()];
    for (const [name, ofOne, ofMany, principal] of [
      ['reused', past, past, 'bench'],
      ['created', some, others, 'bench'],
      ['joined', some, others, 'another'],
    ] as const) {
      const one = await singly(ofOne, principal);
      const many = await together(ofMany, principal);
      rows.push([`${name}, run ${round}`, one.toFixed(0), many.toFixed(0), (many / one).toFixed(2)]);
    }
  }
  connection.close();
  await memoir.stop();
  const events = await countEvents(memoir.log);
  const joined = events.get('JobJoined') ?? 0;
  const all = (events.get('JobRequested') ?? 0) + (events.get('JobReused') ?? 0) + joined - seeded;
  if (joined !== 2 * rounds * jobs) throw new Error(`${2 * rounds * jobs} were to join, ${joined} did`);
  if (all !== recorded) throw new Error(`${recorded} answers were to be in the log, there are ${all}`);
  process.stdout.write(`${table(['jobs/s', 'CreateJob', `CreateJobs of ${size}`, 'times'], rows)}\n`);
} finally {
  scene.dispose();
}
