import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { AsOfSchema } from '../gen/memoir/jobs/v1/as_of_pb.js';
import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { allProjections, historyProjections } from '../projections/all.js';
import { logTimes } from '../projections/history/log-times.js';
import { openReadModelFile } from '../projections/running/database.js';
import type { Projection } from '../projections/running/projection.js';
import { runProjections } from '../projections/running/runner.js';
import { openSqliteLog } from '../src/eventstore/sqlite/store.js';
import { connect } from '../src/rpc/client.js';
import { startChild } from './child-server.js';
import { writeHistory } from './history.js';
import { percentile } from './percentile.js';
import { table } from './table.js';

// What does it cost to answer as of the past? Reads as of the middle of a log beside the same reads of now, one after the other by one
// client; and what the projection costs for each event of the log, beside the read model's, and takes on disk.
//
//     node build/bench/as-of.js [events, 1000000 unless given] [calls of each measurement, 500 unless given]

const sets: Readonly<Record<string, readonly Projection[]>> = {
  'read-model': allProjections,
  history: historyProjections,
  'times-alone': [logTimes],
};

/** Builds projections in a process of its own, and gives the milliseconds of its processor that it took. */
function built(name: string, directory: string): number {
  const self = fileURLToPath(import.meta.url);
  const { stdout, status } = spawnSync(process.execPath, [self, 'build', name, directory], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`to build ${name} ended with ${status}`);
  return Number(stdout);
}

async function build(name: string, directory: string): Promise<void> {
  const before = process.cpuUsage();
  const log = openSqliteLog(join(directory, 'events.sqlite'));
  const db = openReadModelFile(join(directory, `${name}.sqlite`), sets[name] ?? []);
  const stop = new AbortController();
  await runProjections(log, db, sets[name] ?? [], {
    signal: stop.signal,
    onApplied: ({ live }) => live && stop.abort(),
  });
  db.close();
  await log.close();
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(String((user + system) / 1_000));
}

function repository(directory: string): string {
  const path = join(directory, 'repository');
  mkdirSync(path);
  const git = (...args: string[]) => execFileSync('git', ['-C', path, ...args]);
  git('init', '-q', '-b', 'main');
  // The scripts of the history's jobs.
  mkdirSync(join(path, 'bin'));
  for (let n = 0; n < 7; n++)
    writeFileSync(join(path, `bin/step-${n}.py`), '#!/usr/bin/env python3\n', { mode: 0o755 });
  git('add', '.');
  git('-c', 'user.name=bench', '-c', 'user.email=bench@example.org', 'commit', '-q', '-m', 'one');
  return path;
}

async function timed(calls: number, call: (n: number) => Promise<unknown>): Promise<number[]> {
  for (let n = 0; n < Math.min(20, calls); n++) await call(n);
  const times: number[] = [];
  for (let n = 0; n < calls; n++) {
    const before = performance.now();
    await call(n);
    times.push(performance.now() - before);
  }
  return times;
}

async function main(events: number, calls: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-as-of-'));
  try {
    const jobs = await writeHistory(join(directory, 'events.sqlite'), events);
    const size = (name: string) => `${(statSync(join(directory, `${name}.sqlite`)).size / 1024 ** 2).toFixed(1)} MiB`;
    const cpu = Object.fromEntries(Object.keys(sets).map((name) => [name, built(name, directory)]));
    const perEvent = (ms: number) => `${((1_000 * ms) / events).toFixed(1)} µs`;
    process.stdout.write(
      `${table(
        ['projections', 'CPU for each event', 'file'],
        Object.entries(cpu).map(([name, ms]) => [name, perEvent(ms), size(name)]),
      )}\n`,
    );
    const names = Array.from({ length: 20 }, (_, i) => [`team-${i}/pipeline`, { path: '' }] as const);
    const path = repository(directory);
    const repositories = Object.fromEntries(names.map(([name]) => [name, { path }]));
    const config = { data_dir: directory, listen: '127.0.0.1:0', repositories, log_level: 'warn' };
    const server = await startChild('memoir-server', JSON.stringify(config));
    const connection = connect(`127.0.0.1:${server.port}`, 'user-3');
    const client = connection.service(JobsService);
    const middle = create(AsOfSchema, { moment: { case: 'position', value: BigInt(Math.floor(events / 2)) } });
    const known = (await client.listJobs({ asOf: middle, pageSize: 1_000 })).jobs;
    const one = (n: number) => known[n % known.length] as (typeof known)[number];
    const filter = (attribute: string, value: string) => ({
      attribute,
      operator: '=',
      operand: { kind: { case: 'stringValue' as const, value } },
    });
    const reads: [string, (n: number, asOf: { asOf?: typeof middle }) => Promise<unknown>, number][] = [
      ['GetJob', (n, asOf) => client.getJob({ uuid: one(n).uuid, ...asOf }), calls],
      ['ListJobs, first page', (_n, asOf) => client.listJobs({ ...asOf }), calls],
      [
        'ListJobs, of a repository',
        (n, asOf) => client.listJobs({ filters: [filter('repository', one(n).repository)], ...asOf }),
        calls,
      ],
      [
        'ListJobs, by output',
        (n, asOf) => client.listJobs({ filters: [filter('output', one(n).output || 'none')], ...asOf }),
        calls,
      ],
      [
        'ListJobs, running',
        (_n, asOf) => client.listJobs({ filters: [filter('state', 'Running')], ...asOf }),
        Math.ceil(calls / 50),
      ],
      [
        'ExplainReuse',
        (n, asOf) => {
          const { repository: of, script, scriptParameters = {} } = one(n);
          const request = {
            repository: of,
            script,
            scriptVersion: 'main',
            scriptParameters: scriptParameters as JsonObject,
          };
          return client.explainReuse({ request, ...asOf });
        },
        calls,
      ],
    ];
    const rows: string[][] = [];
    for (const [name, read, count] of reads) {
      const now = await timed(count, (n) => read(n, {}));
      const then = await timed(count, (n) => read(n, { asOf: middle }));
      const ms = (times: number[], part: number) => percentile(times, part).toFixed(2);
      rows.push([name, ms(now, 0.5), ms(now, 0.99), ms(then, 0.5), ms(then, 0.99)]);
    }
    process.stdout.write(
      `${events.toLocaleString('en')} events of ${jobs.toLocaleString('en')} jobs; as of the middle, in ms\n` +
        `${table(['', 'now p50', 'now p99', 'then p50', 'then p99'], rows)}\n`,
    );
    connection.close();
    await server.stop();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const [first = '1000000', second = '500', third = ''] = process.argv.slice(2);
if (first === 'build') await build(second, third);
else await main(Number(first), Number(second));
