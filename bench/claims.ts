import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobRequestedSchema } from '../gen/memoir/events/v1/events_pb.js';
import { CreateJobRequestSchema, JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { ClaimJobRequestSchema } from '../gen/memoir/worker/v1/worker_service_pb.js';
import { computationDigests, jobUuid } from '../src/domain/computation.js';
import { jobStream } from '../src/domain/streams.js';
import { encodeEvent } from '../src/eventstore/codec.js';
import type { EventStore } from '../src/eventstore/port.js';
import { connect } from '../src/rpc/client.js';
import { runLoad } from './http2-load.js';
import { percentile } from './percentile.js';
import { countEvents, createJobPath, makeScene } from './scene.js';
import { type Seed, seedParameters } from './seed.js';
import { table } from './table.js';

// How long does a claim take where most of what is queued does not fit, and how many are answered in a second? How much longer does a
// create take where thousands of claims wait? Jobs ask for one of a hundred labels and for one of several numbers of cores, so that one in a
// hundred fits a worker.
//
//     node build/bench/claims.js [queued jobs, 1000000 unless given] [shapes, 1000 unless given] [owners, 1000 unless given]

const [jobs = 1_000_000, shapes = 1_000, owners = 1_000] = process.argv.slice(2, 5).map(Number);
const polls = 4_000;
const creates = 300;
const claimPath = '/memoir.worker.v1.WorkerService/ClaimJob';
const metadata = JSON.stringify({ principal: 'bench', requestId: 'seed', serverVersion: '0', logFormat: 4 });

/** How many labels there are; what jobs of one label ask for differs in the cores. */
const kinds = Math.min(100, shapes);
const labelsOf = (n: number) => ({ kind: String(n % kinds) });
const coresOf = (n: number) => 1 + (Math.floor(n / kinds) % Math.ceil(shapes / kinds));

/** Appends queued jobs, those of one owner and of one shape spread over all. */
async function seedQueue(store: EventStore, { repository, script, commit }: Seed): Promise<void> {
  const pending = new Set<Promise<unknown>>();
  for (let n = 0; n < jobs; n++) {
    const scriptParameters = seedParameters(n);
    const digests = computationDigests({ repository, script, scriptParameters });
    const event = create(JobRequestedSchema, {
      uuid: jobUuid(digests.computation, 1),
      owner: `owner-${Math.floor(n / shapes) % owners}`,
      repository,
      script,
      scriptVersion: commit,
      suppliedScriptVersion: 'main',
      scriptParameters,
      parametersDigest: digests.parameters,
      computationDigest: digests.computation,
      runNumber: 1,
      requestedAt: timestampFromMs(Date.UTC(2026, 0, 1) + n),
      requiredLabels: labelsOf(n),
      runtimeConstraints: { minCoresPerNode: coresOf(n) },
    });
    const id = `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
    const append = store.append(jobStream(event.uuid), 'no_stream', [encodeEvent(id, event, metadata)]);
    pending.add(append);
    void append.then(() => pending.delete(append));
    if (pending.size >= 2_000) await Promise.race(pending);
  }
  await Promise.all(pending);
}

type Wish = MessageInitShape<typeof ClaimJobRequestSchema>;
const body = (wish: Wish) => toBinary(ClaimJobRequestSchema, create(ClaimJobRequestSchema, wish));
const lease = durationFromMs(3_600_000);
/** A claim by one of many workers. */
const fitting = (n: number) => body({ lease, offer: { cores: 1_000, labels: labelsOf(n) } });
const unfitting = () => body({ lease, offer: { cores: 1_000, labels: { kind: 'none' } } });
const milliseconds = (microseconds: number) => (microseconds / 1_000).toFixed(2);

const scene = makeScene();
try {
  const began = performance.now();
  const memoir = await scene.serve('queue', seedQueue);
  process.stdout.write(
    `${jobs.toLocaleString('en')} queued jobs of ${shapes} shapes and ${owners} owners; filled and read in ${((performance.now() - began) / 1_000).toFixed(0)} s\n`,
  );
  const rows: string[][] = [];
  const round = async (name: string, of: (n: number) => Uint8Array, concurrency: number, calls: number) => {
    await runLoad({ port: memoir.port, path: claimPath, body: of, concurrency, calls: Math.ceil(calls / 10) });
    const before = performance.now();
    const { rate, histogram } = await runLoad({ port: memoir.port, path: claimPath, body: of, concurrency, calls });
    await readable();
    const read = (1_000 * calls) / (performance.now() - before);
    const at = (part: number) => milliseconds(histogram.getValueAtPercentile(part));
    rows.push([name, rate.toFixed(0), read.toFixed(0), at(50), at(99)]);
  };
  const connection = connect(`127.0.0.1:${memoir.port}`, 'bench');
  const client = connection.service(JobsService);
  const { repository, script } = scene.seed;
  const uuid = jobUuid(computationDigests({ repository, script, scriptParameters: seedParameters(0) }).computation, 1);
  /** Resolves when the read model has all that was recorded: a write of now is behind it. */
  async function readable(): Promise<void> {
    const update = { job: { uuid, description: 'd' }, updateMask: { paths: ['description'] } };
    const { consistencyToken } = await client.updateJob(update);
    await client.getJob({ uuid, consistencyToken });
  }
  const calls = Math.min(2_000, Math.floor(jobs / 400));
  await round('nothing fits, 1 worker', unfitting, 1, calls);
  await round('1 in 100 fits, 1 worker', fitting, 1, calls);
  await round('1 in 100 fits, 50 workers', fitting, 50, calls);
  connection.close();
  await memoir.stop();
  const started = (await countEvents(memoir.log)).get('JobStarted') ?? 0;
  const expected = 2 * (calls + Math.ceil(calls / 10));
  if (started !== expected) throw new Error(`${expected} jobs were to be claimed, there are ${started}`);
  process.stdout.write(`${table(['claims', 'a second', 'until they can be read', 'p50 ms', 'p99 ms'], rows)}\n`);

  const waiting: string[][] = [];
  for (const [name, count, offer] of [
    ['no claim waits', 0, () => ({})],
    ['1 claim waits', 1, () => ({})],
    [`${polls} wait, all fit`, polls, () => ({})],
    [`${polls} wait, each of another offer`, polls, (n: number) => ({ labels: { n: String(n) } })],
  ] as const) {
    const server = await scene.serve(`polls-${waiting.length}`, async () => undefined);
    const wait = durationFromMs(300_000);
    // One that waits comes again until it had all; thousands are more than there are jobs.
    const claims = runLoad({
      port: server.port,
      path: claimPath,
      body: (n) => body({ lease, wait, offer: offer(n) }),
      concurrency: count,
      calls: count === 1 ? creates + 50 : count,
    }).catch(() => undefined);
    const { repository, script, commit: scriptVersion } = scene.seed;
    const connection = connect(`127.0.0.1:${server.port}`, 'bench');
    const client = connection.service(JobsService);
    await client.getQueueSize({});
    await new Promise((resolve) => setTimeout(resolve, count === 0 ? 0 : 2_000));
    const request = (n: number) =>
      toBinary(
        CreateJobRequestSchema,
        create(CreateJobRequestSchema, { repository, script, scriptVersion, scriptParameters: { n } }),
      );
    await runLoad({ port: server.port, path: createJobPath, body: request, concurrency: 1, calls: 50 });
    const times: number[] = [];
    for (let n = 0; n < creates; n++) {
      const before = performance.now();
      await client.createJob({ repository, script, scriptVersion, scriptParameters: { n: 50 + n } });
      times.push(performance.now() - before);
    }
    waiting.push([name, percentile(times, 0.5).toFixed(2), percentile(times, 0.99).toFixed(2)]);
    while (count > 0 && (await client.getQueueSize({})).size > 0n)
      await new Promise((resolve) => setTimeout(resolve, 50));
    connection.close();
    await server.stop();
    await claims;
    const counted = (await countEvents(server.log)).get('JobStarted') ?? 0;
    const wanted = count === 0 ? 0 : 50 + creates;
    if (counted !== wanted) throw new Error(`${name}: ${wanted} jobs were to be claimed, there are ${counted}`);
  }
  process.stdout.write(`${table(['create, ms', 'p50', 'p99'], waiting)}\n`);
} finally {
  scene.dispose();
}
