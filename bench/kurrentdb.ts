import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { JobLogAppendedSchema } from '../gen/memoir/events/v1/events_pb.js';
import { openReadModel } from '../projections/read-model/read-model.js';
import { computationDigests, jobUuid } from '../src/domain/computation.js';
import { jobLogStream, jobStream } from '../src/domain/streams.js';
import { systemEdge } from '../src/edge.js';
import { encodeEvent } from '../src/eventstore/codec.js';
import { openStore, sqliteUrl } from '../src/eventstore/open-store.js';
import { type EventStore, metadataJson, type NewEvent } from '../src/eventstore/port.js';
import { startDoubleProcess } from '../test/support/kurrentdb-double/process.js';
import { type ChildServer, startChild } from './child-server.js';
import { appendWholeJobs } from './history.js';
import { inItsOwnProcess, measureHere } from './own-process.js';
import { percentile } from './percentile.js';
import { createJobPath, makeScene, measure, numbered, type Scene } from './scene.js';
import { seedJobs, seedParameters } from './seed.js';
import { table } from './table.js';

// How fast are Memoir and its adapter on KurrentDB? Beside it, in the same run: the embedded store on this machine's disk.
//
//     node build/bench/kurrentdb.js [events to replay, 100000 unless given]
//
// The server is the test double in a process of its own, which keeps everything in memory and is written in TypeScript, so this
// measures Memoir, the adapter, the client and the protocol. With MEMOIR_TEST_KURRENTDB it is the server of that URL: everything is
// under names of this run's own, but what was there before is replayed too, so that rates are compared and not times.

const concurrencies = [1, 8, 64, 256];
const seconds = 3;

/** Jobs that are asked for again and again; each is read once by each server. */
const seeded = 500;
const replicas = 3;

const metadata = metadataJson({ principal: 'bench', requestId: 'bench', serverVersion: '0.1.0' });

type Appends = { readonly rate: number; readonly p50: number };

/** A piece of a live log of 400 bytes. */
function event(i: number): NewEvent {
  const piece = create(JobLogAppendedSchema, { offset: BigInt(i * 400), text: 'x'.repeat(400), attempt: 1 });
  return encodeEvent(randomUUID(), piece, metadata);
}

async function appends(store: EventStore, concurrency: number, during = seconds): Promise<Appends> {
  const streams = Array.from({ length: concurrency }, () => jobLogStream(randomUUID()));
  const start = performance.now();
  const end = start + during * 1_000;
  const took: number[] = [];
  await Promise.all(
    streams.map(async (stream) => {
      for (let n = 0; performance.now() < end; n++) {
        const begun = performance.now();
        await store.append(stream, n === 0 ? 'no_stream' : n - 1, [event(n)]);
        took.push(performance.now() - begun);
      }
    }),
  );
  return { rate: took.length / ((performance.now() - start) / 1_000), p50: percentile(took, 0.5) };
}

/** Milliseconds that reads of the streams of seeded jobs take, one at a time. */
async function streamReads(store: EventStore, streams: readonly string[]): Promise<number[]> {
  const took: number[] = [];
  const end = performance.now() + seconds * 1_000;
  for (let n = 0; performance.now() < end; n++) {
    const begun = performance.now();
    let events = 0;
    for await (const _ of store.readStream(streams[n % streams.length] ?? '')) events++;
    took.push(performance.now() - begun);
    if (events !== 3) throw new Error(`the stream of a seeded job has ${events} events`);
  }
  return took;
}

async function perSecond(read: () => AsyncIterable<number>): Promise<number> {
  const start = performance.now();
  let count = 0;
  for await (const some of read()) count += some;
  return count / ((performance.now() - start) / 1_000);
}

/** Events a second by reads and by a subscription, from a position on. */
async function wholeReads(store: EventStore, after: number): Promise<[reads: number, subscription: number]> {
  return [
    await perSecond(async function* () {
      for await (const _ of store.readAll(after)) yield 1;
    }),
    await perSecond(async function* () {
      for await (const { events: some, live } of store.subscribeAll(after)) {
        yield some.length;
        if (live) return;
      }
    }),
  ];
}

type Stored = {
  readonly appends: readonly Appends[];
  readonly reads: readonly number[];
  readonly whole: readonly [number, number];
  readonly replay: number;
};

/** What the adapter does, and how many events a second fresh projections take in. `first` numbers what is written. */
async function measureStore(url: string, scene: Scene, events: number, first: number): Promise<Stored> {
  const store = await openStore(url, systemEdge);
  try {
    const before = await store.end();
    await appendWholeJobs(store, events, first);
    // The double makes each answer once; that is not to be measured.
    let all = 0;
    for await (const _ of store.readAll()) all++;
    const whole = await wholeReads(store, before);
    process.env.MEMOIR_BENCH_STORE = url;
    const replayed = inItsOwnProcess(import.meta.url, ['replay', join(scene.directory, `replay-${first}.sqlite`)]);
    await seedJobs(store, scene.seed, first, seeded);
    const reads = await streamReads(store, streamsOf(scene, first));
    const measured: Appends[] = [];
    for (const concurrency of concurrencies) {
      await appends(store, concurrency, 1);
      measured.push(await appends(store, concurrency));
    }
    return { appends: measured, reads, whole, replay: all / replayed.seconds };
  } finally {
    await store.close();
  }
}

function streamsOf({ seed }: Scene, first: number): string[] {
  return Array.from({ length: seeded }, (_, i) => {
    const work = { repository: seed.repository, script: seed.script, scriptParameters: seedParameters(first + i) };
    return jobStream(jobUuid(computationDigests(work).computation, 1));
  });
}

type Hits = { readonly rate: number; readonly p50: number; readonly p99: number; readonly cpu: number };

/** Answers with seeded jobs by some servers at once, so many at a time in all. */
async function hits(servers: readonly ChildServer[], scene: Scene, first: number, concurrency: number): Promise<Hits> {
  const before = cpuSeconds(servers);
  const each = Math.max(1, Math.floor(concurrency / servers.length));
  const measured = await Promise.all(
    servers.map(({ port }) => {
      const body = numbered(scene.seed, scene.seed.commit);
      const load = { port, path: createJobPath, concurrency: each, seconds: seconds * 2 };
      return measure({ ...load, body: (n) => body(first + (n % seeded)) });
    }),
  );
  const calls = measured.reduce((sum, one) => sum + one.calls, 0);
  const at = (part: number) =>
    Math.max(...measured.map(({ histogram }) => histogram.getValueAtPercentile(part) / 1_000));
  return {
    rate: measured.reduce((sum, one) => sum + one.rate, 0),
    p50: at(50),
    p99: at(99),
    cpu: (cpuSeconds(servers) - before) / calls,
  };
}

/** What the processes took of processors so far: fields 14 and 15 of /proc/[pid]/stat, in hundredths of a second (proc(5)). */
function cpuSeconds(servers: readonly ChildServer[]): number {
  if (process.platform !== 'linux') return Number.NaN;
  return servers.reduce((sum, { child }) => {
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}

type Served = { readonly one: Hits; readonly many: Hits; readonly replicas: Hits };

/** What servers do on a store that has the seeded jobs. */
async function measureServers(url: string, scene: Scene, first: number): Promise<Served> {
  const servers: ChildServer[] = [];
  const start = async (n: number) => {
    servers.push(
      await startChild(
        'memoir-server',
        JSON.stringify({ ...scene.settings(`data-${n}`), store: url, log_level: 'error' }),
      ),
    );
  };
  try {
    await start(0);
    // What was appended bare before was appended by code that had long been compiled, as that of a server is after some thousand calls.
    await hits(servers, scene, first, 64);
    const one = await hits(servers, scene, first, 1);
    const many = await hits(servers, scene, first, 256);
    for (let n = 1; n < replicas; n++) await start(n);
    await hits(servers, scene, first, 64 * replicas);
    return { one, many, replicas: await hits(servers, scene, first, 256) };
  } finally {
    for (const server of servers) await server.stop();
  }
}

const rounded = (rate = 0) => Math.round(rate).toLocaleString('en');
const ms = (time = 0) => time.toFixed(time < 10 ? 2 : 0);

async function main(events: number): Promise<void> {
  const scene = makeScene();
  const first = randomInt(2 ** 32 - 1_000_000);
  const real = process.env.MEMOIR_TEST_KURRENTDB;
  const double = real === undefined ? await startDoubleProcess() : undefined;
  try {
    const url = real ?? double?.url ?? '';
    const kurrent = await measureStore(url, scene, events, first);
    const served = await measureServers(url, scene, first);
    const sqlite = await measureStore(sqliteUrl(join(scene.directory, 'events.sqlite')), scene, events, 0);
    const what = [
      ...concurrencies.map((concurrency) => `appends of one event a second, ${concurrency} at a time`),
      'readAll, events a second',
      'subscribeAll up to its end, events a second',
      'replay into fresh projections, events a second',
      'read of a stream of 3 events, p50 ms',
      'read of a stream of 3 events, p99 ms',
    ];
    const column = ({ appends: rates, whole, replay, reads }: Stored) => [
      ...[...rates.map(({ rate }) => rate), ...whole, replay].map(rounded),
      ms(percentile(reads, 0.5)),
      ms(percentile(reads, 0.99)),
    ];
    const [ours, embedded] = [column(kurrent), column(sqlite)];
    const head = ['', double ? 'KurrentDB adapter on the double' : 'KurrentDB', 'SQLite'];
    process.stdout.write(
      `${table(
        head,
        what.map((name, i) => [name, ours[i] ?? '', embedded[i] ?? '']),
      )}\n`,
    );

    const hitRow = (name: string, { rate, p50, p99, cpu }: Hits) => [
      name,
      rounded(rate),
      ms(p50),
      ms(p99),
      ms(cpu * 1_000),
    ];
    const hitRows = [
      hitRow('1 server, 1 at a time', served.one),
      hitRow('1 server, 256 at a time', served.many),
      hitRow(`${replicas} servers, 256 at a time in all`, served.replicas),
    ];
    process.stdout.write(`${table(['reused, by hash', 'hits/s', 'p50 ms', 'p99 ms', 'CPU ms a hit'], hitRows)}\n`);

    const [bare, , , full] = kurrent.appends;
    const targets: [what: string, is: number, target: number, least: boolean][] = [
      ['p50 of a hit, 1 at a time, of that of a bare append', served.one.p50 / (bare?.p50 ?? 0), 2, false],
      ['p99 of a stream read, ms', percentile(kurrent.reads, 0.99), 5, false],
      ['hits at 256 of bare appends at 256', served.many.rate / (full?.rate ?? 0), 0.5, true],
      [`hits/s with ${replicas} servers of those with one`, served.replicas.rate / served.many.rate, 1, true],
      [`CPU of a hit with ${replicas} servers of that with one`, served.replicas.cpu / served.many.cpu, 1, false],
      ['time of a replay of that of SQLite', sqlite.replay / kurrent.replay, 1.3, false],
    ];
    const targetRows = targets.map(([name, is, target, least]) => [
      name,
      is.toFixed(2),
      `${least ? '≥' : '≤'} ${target}`,
      (least ? is >= target : is <= target) ? 'reached' : 'not reached',
    ]);
    process.stdout.write(`${table(['target', 'is', '', ''], targetRows)}\n`);
  } finally {
    await double?.stop();
    scene.dispose();
  }
}

const [argument = '100000', path] = process.argv.slice(2);
if (path !== undefined) {
  await measureHere(async () => {
    const readModel = await openReadModel(process.env.MEMOIR_BENCH_STORE ?? '', path);
    await readModel.caughtUp();
    await readModel.close();
  });
  process.exit();
} else if (/^[1-9]\d*$/.test(argument)) {
  await main(Number(argument));
  process.exit();
} else throw new Error(`${argument} is no number of events`);
