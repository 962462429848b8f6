import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { SubscribeEventsRequestSchema } from '../gen/memoir/history/v1/history_service_pb.js';
import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { connect } from '../src/rpc/client.js';
import { type ChildServer, startChild } from './child-server.js';
import { runLoad } from './http2-load.js';
import { percentile } from './percentile.js';
import { createJobPath, makeScene, numbered, type Scene } from './scene.js';
import { seedJobs, seedParameters } from './seed.js';
import { table } from './table.js';

// Live subscribers: events a second to 1, 100 and 1,000 of them beside a bare grpc-js stream of equal bytes, lag, and memory.
// BENCH_SUBSCRIBERS=1,100,1000  BENCH_DELIVERIES (messages in all at each number)  BENCH_RATE (events a second)  BENCH_SECONDS
// BENCH_PER_CONNECTION (100 unless given)

const numbers = (process.env.BENCH_SUBSCRIBERS ?? '1,100,1000').split(',').map(Number);
const deliveries = Number(process.env.BENCH_DELIVERIES ?? 200_000);
const rate = Number(process.env.BENCH_RATE ?? 500);
const seconds = Number(process.env.BENCH_SECONDS ?? 10);

const subscribePath = '/memoir.history.v1.HistoryService/SubscribeEvents';
const live = toBinary(SubscribeEventsRequestSchema, create(SubscribeEventsRequestSchema, {}));
const fromBeginning = toBinary(
  SubscribeEventsRequestSchema,
  create(SubscribeEventsRequestSchema, { start: { case: 'beginning', value: {} } }),
);

type Received = { readonly done: number; readonly bytes: number; readonly lags?: number[] };

type Readers = {
  /** Counts from now on. What it resolves with resolves when all have got so many messages more. */
  expect(count: number, lags?: boolean): Promise<() => Promise<Received>>;
  stop(): Promise<void>;
};

async function startReaders(
  port: number,
  path: string,
  many: number,
  { stuck = 0, request = live, principal = 'reader' } = {},
): Promise<Readers> {
  const args = [port, path, many, stuck, Buffer.from(request).toString('hex'), principal].map(String);
  const child: ChildProcess = fork(new URL('./stream-readers.js', import.meta.url), args);
  const next = <T>() => new Promise<T>((resolve) => child.once('message', (message) => resolve(message as T)));
  if (many > stuck) await next();
  return {
    async expect(count, lags = false) {
      const armed = next();
      child.send({ count, lags });
      await armed;
      const received = next<Received>();
      return () => received;
    },
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      await gone;
    },
  };
}

const clock = () => Number(process.hrtime.bigint()) / 1e6;
const resident = ({ child }: ChildServer) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;

let written = 0;

/** Records that many jobs, each an event, as fast as the server takes them. */
async function write(scene: Scene, { port }: ChildServer, events: number) {
  const from = written;
  written += events;
  const body = numbered(scene.seed, scene.seed.commit);
  return runLoad({
    port,
    path: createJobPath,
    body: (n) => body(from + n),
    concurrency: Math.min(64, events),
    calls: events,
  });
}

async function fanOut(scene: Scene, server: ChildServer, many: number): Promise<string[]> {
  const events = Math.max(20, Math.min(20_000, Math.round(deliveries / many)));
  const alone = (await write(scene, server, events)).rate;
  const readers = await startReaders(server.port, subscribePath, many);
  const before = resident(server);
  const got = await readers.expect(events);
  const begun = clock();
  await write(scene, server, events);
  const { done, bytes } = await got();
  await readers.stop();
  const grown = resident(server) - before;

  const yardstick = await startChild('stream-server');
  const bare = await startReaders(yardstick.port, '/bench.Stream/Send', many);
  const bareGot = await bare.expect(events);
  const bareBegun = clock();
  yardstick.child.send({ count: events, size: Math.round(bytes / many / events) - 5 });
  const bareMs = (await bareGot()).done - bareBegun;
  await bare.stop();
  await yardstick.stop();

  const each = (ms: number) => Math.round((1_000 * events) / ms).toLocaleString('en');
  const all = (ms: number) => Math.round((1_000 * events * many) / ms).toLocaleString('en');
  const ms = done - begun;
  return [
    String(many),
    events.toLocaleString('en'),
    Math.round(alone).toLocaleString('en'),
    each(ms),
    all(ms),
    all(bareMs),
    `${((100 * bareMs) / ms).toFixed(0)} %`,
    `${grown.toFixed(0)} MiB`,
  ];
}

/** At a moderate rate: how long until an event can be read, and until a subscriber has it, with so many subscribers. */
async function lag(scene: Scene, server: ChildServer, many: number): Promise<string[]> {
  const events = Math.max(1, Math.round(rate * seconds));
  const readers = await startReaders(server.port, subscribePath, many);
  const got = await readers.expect(events, true);
  const connection = connect(`127.0.0.1:${server.port}`, 'bench');
  const jobs = connection.service(JobsService);
  const { repository, script, commit } = scene.seed;
  const readable: number[] = [];
  const plain: number[] = [];
  const writes: Promise<void>[] = [];
  const begun = clock();
  for (let i = 0; i < events; i++) {
    const wait = begun + (1_000 * i) / rate - clock();
    if (wait > 1) await delay(wait);
    const scriptParameters = { ...seedParameters(0), sample: 1e9 + written++ };
    writes.push(
      jobs.createJob({ repository, script, scriptVersion: commit, scriptParameters }).then(async (made) => {
        if (i % 5) return;
        const uuid = made.job?.uuid ?? '';
        const answered = clock();
        await jobs.getJob({ uuid, consistencyToken: made.consistencyToken });
        readable.push(clock() - answered);
        const again = clock();
        await jobs.getJob({ uuid });
        plain.push(clock() - again);
      }),
    );
  }
  await Promise.all(writes);
  const { lags = [] } = await got();
  await readers.stop();
  connection.close();
  const of = (samples: readonly number[]) =>
    `${percentile(samples, 0.5).toFixed(1)} / ${percentile(samples, 0.99).toFixed(1)}`;
  return [String(many), of(lags), of(readable), of(plain)];
}

/** The same events to many readers, a part of whom reads nothing, from the beginning of the log and live. */
async function stuckReaders(scene: Scene, server: ChildServer, many: number, stuck: number): Promise<string[]> {
  const before = resident(server);
  const past = await startReaders(server.port, subscribePath, stuck, { stuck, request: fromBeginning });
  const readers = await startReaders(server.port, subscribePath, many, { stuck });
  const events = Math.max(20, Math.round(deliveries / many));
  const got = await readers.expect(events);
  const begun = clock();
  await write(scene, server, events);
  const { done } = await got();
  const after = resident(server);
  await readers.stop();
  await past.stop();
  const rateOf = Math.round((1_000 * events * (many - stuck)) / (done - begun)).toLocaleString('en');
  return [String(many), `${stuck} + ${stuck}`, rateOf, `${before.toFixed(0)} MiB`, `${after.toFixed(0)} MiB`];
}

const policyText = `
[[grants]]
to = ["root", "bench"]
roles = ["admin"]
repositories = ["**"]

[[grants]]
to = ["reader"]
roles = ["reader"]
repositories = ["bench"]
`;
const answered = 1_000;

/** Answers by reuse, which hide from others who asked: events a second to each subscriber, where all are admins or none is. */
async function redactedFanOut(scene: Scene, many: number): Promise<string[][]> {
  const policy = join(scene.directory, 'policy.toml');
  writeFileSync(policy, policyText);
  const more = { policy };
  const server = await scene.serve(`redacted-${many}`, (store, seed) => seedJobs(store, seed, 0, answered), more);
  const body = numbered(scene.seed, scene.seed.commit);
  const events = Math.max(20, Math.min(20_000, Math.round(deliveries / many)));
  const reuse = (calls: number) =>
    runLoad({
      port: server.port,
      path: createJobPath,
      body: (n) => body(n % answered),
      concurrency: 64,
      calls,
      headers: { 'memoir-principal': 'bench' },
    });
  await reuse(2_000);
  const rows: string[][] = [];
  for (const [who, principal] of [
    ['admins', 'root'],
    ['readers of the repository', 'reader'],
  ] as const) {
    const readers = await startReaders(server.port, subscribePath, many, { principal });
    const got = await readers.expect(events);
    const begun = clock();
    await reuse(events);
    const { done } = await got();
    await readers.stop();
    rows.push([
      `${many} ${who}`,
      events.toLocaleString('en'),
      Math.round((1_000 * events) / (done - begun)).toLocaleString('en'),
    ]);
  }
  await server.stop();
  return rows;
}

const scene = makeScene();
const server = await scene.serve('subscribers', async () => undefined);
try {
  await write(scene, server, 2_000);
  const most = Math.max(...numbers);
  const rows: string[][] = [];
  for (const many of numbers) rows.push(await fanOut(scene, server, many));
  const heads = [
    'live subscribers',
    'events',
    'written/s alone',
    'events/s to each',
    'messages/s',
    'bare grpc-js',
    'of it',
    'memory',
  ];
  process.stdout.write(`${table(heads, rows)}\n`);
  const lags: string[][] = [];
  for (const many of [1, ...numbers.filter((n) => n > 1 && n * rate <= 60_000)])
    lags.push(await lag(scene, server, many));
  const what = `at ${rate} events/s; p50 / p99 in ms`;
  process.stdout.write(`${table(['subscribers', `to a subscriber, ${what}`, 'to a read', 'a read alone'], lags)}\n`);
  const stuck = [await stuckReaders(scene, server, most, Math.max(1, Math.round(most / 10)))];
  process.stdout.write(
    `${table(['subscribers', 'stuck, live + in the past', 'messages/s', 'memory before', 'after'], stuck)}\n`,
  );
  const redacted: string[][] = [];
  for (const many of numbers.filter((n) => n <= 100)) redacted.push(...(await redactedFanOut(scene, many)));
  process.stdout.write(`${table(['subscribers', 'answers by reuse', 'events/s to each'], redacted)}\n`);
} finally {
  await server.stop();
  scene.dispose();
}
