import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { CreateJobRequestSchema } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { openSqliteStore } from '../src/eventstore/sqlite/store.js';
import { startChild } from './child-server.js';
import { type Measured, runLoad } from './http2-load.js';
import { type Seed, seedJobs, seedParameters } from './seed.js';
import { row, table } from './table.js';

// How fast CreateJob answers beside a bare grpc-js echo in the same layout of processes: a server in one, the load in another.

const concurrencies = [1, 8, 64, 256];
const seconds = Number(process.argv[2] ?? 4);
const seeded = 10_000;
const createJob = '/memoir.jobs.v1.JobsService/CreateJob';

const dir = mkdtempSync(join(tmpdir(), 'memoir-bench-'));
try {
  await main();
} finally {
  rmSync(dir, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const repository = join(dir, 'repository');
  const commit = makeRepository(repository);
  const seed: Seed = { repository: 'bench', script: 'run.sh', commit, owner: 'bench' };
  const dataDir = join(dir, 'data');
  const store = await openSqliteStore(join(dataDir, 'events.sqlite'), () => 0);
  await seedJobs(store, seed, 0, seeded);
  await store.close();
  const config = {
    data_dir: dataDir,
    listen: '127.0.0.1:0',
    repositories: { bench: { path: repository } },
    log_level: 'warn',
  };
  const echo = await startChild('echo-server');
  const memoir = await startChild('memoir-server', JSON.stringify(config));

  const byHash = numbered(seed, true, commit);
  const byBranch = numbered(seed, true, 'main');
  const fresh = numbered(seed, true, commit);
  let created = seeded;
  const rows: string[][] = [];
  for (const concurrency of concurrencies) {
    const base = await measure(echo.port, '/bench.Echo/Echo', byHash, concurrency);
    rows.push(row(`echo, ${concurrency} at a time`, base));
    const hit = await measure(memoir.port, createJob, (n) => byHash(n % seeded), concurrency);
    rows.push(row('  hit, by hash', hit, base));
    const branch = await measure(memoir.port, createJob, (n) => byBranch(n % seeded), concurrency);
    rows.push(row('  hit, by branch', branch, base));
    const first = created;
    const made = await measure(
      memoir.port,
      createJob,
      (n) => fresh(first + n),
      concurrency,
      (calls) => {
        created += calls;
      },
    );
    rows.push(row('  create', made, base));
  }
  await memoir.stop();
  await echo.stop();
  await verify(dataDir, created);
  process.stdout.write(`${table(['calls', 'calls/s', 'p50 µs', 'p99 µs', 'of echo'], rows)}\n`);
}

type Body = (n: number) => Uint8Array;

/** Warms up, then measures about `seconds` of load. */
async function measure(
  port: number,
  path: string,
  body: Body,
  concurrency: number,
  took: (calls: number) => void = () => {},
): Promise<Measured> {
  const warm = Math.max(500, concurrency * 20);
  const { rate } = await runLoad({ port, path, body, concurrency, calls: warm });
  const calls = Math.max(500, Math.round(rate * seconds));
  const measured = await runLoad({ port, path, body: (n) => body(warm + n), concurrency, calls });
  took(warm + calls);
  return measured;
}

/** Bodies of requests that differ in one parameter, whose eight bytes are set in place. */
function numbered(seed: Seed, findOrCreate: boolean, scriptVersion: string): Body {
  const marker = 1_234_567.125;
  const { repository, script } = seed;
  const scriptParameters = { ...seedParameters(0), sample: marker };
  const message = create(CreateJobRequestSchema, { repository, script, scriptVersion, scriptParameters, findOrCreate });
  const bytes = Buffer.from(toBinary(CreateJobRequestSchema, message));
  const needle = Buffer.alloc(8);
  needle.writeDoubleLE(marker);
  const at = bytes.indexOf(needle);
  return (n) => {
    bytes.writeDoubleLE(n, at);
    return bytes;
  };
}

/** Every created job is in the log: a load that was answered with errors measured nothing. */
async function verify(dataDir: string, created: number): Promise<void> {
  const store = await openSqliteStore(join(dataDir, 'events.sqlite'), () => 0);
  const types = new Map<string, number>();
  for await (const { type } of store.readAll()) types.set(type, (types.get(type) ?? 0) + 1);
  await store.close();
  if (types.get('JobRequested') !== created) {
    throw new Error(`${created} jobs were to be there, ${types.get('JobRequested')} are`);
  }
  process.stdout.write(`in the log: ${[...types].map(([type, count]) => `${count} ${type}`).join(', ')}\n`);
}

function makeRepository(path: string): string {
  const git = (...args: string[]) => execFileSync('git', ['-C', path, ...args], { encoding: 'utf8' }).trim();
  execFileSync('git', ['init', '-q', '-b', 'main', path]);
  writeFileSync(join(path, 'run.sh'), '#!/bin/sh\ncat\n');
  git('add', '.');
  git('-c', 'user.name=bench', '-c', 'user.email=bench@example.org', 'commit', '-qm', 'script');
  return git('rev-parse', 'HEAD');
}
