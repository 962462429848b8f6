import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { CreateJobRequestSchema } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { EventStore } from '../src/eventstore/port.js';
import { openSqliteStore } from '../src/eventstore/sqlite/store.js';
import { type ChildServer, startChild } from './child-server.js';
import { type Load, type Measured, runLoad } from './http2-load.js';
import { type Seed, seedParameters } from './seed.js';

/** Paths of the methods that are measured. */
export const createJobPath = '/memoir.jobs.v1.JobsService/CreateJob';
export const createJobsPath = '/memoir.jobs.v1.JobsService/CreateJobs';

/** A temporary directory with a real repository and stores that were seeded. */
export type Scene = {
  readonly seed: Seed;
  /** The directory itself, for what else is needed. */
  readonly directory: string;
  /** Settings of a server whose data are in the directory `name`. */
  settings(name: string): { readonly data_dir: string } & Readonly<Record<string, unknown>>;
  /** Seeds the store of server `name` and starts it, with `more` settings, in a process of its own; it answers when this resolves. */
  serve(
    name: string,
    fill: (store: EventStore, seed: Seed) => Promise<void>,
    more?: Readonly<Record<string, unknown>>,
  ): Promise<ChildServer & { log: string }>;
  dispose(): void;
};

/** Makes the repository, with one commit on branch `main`, and one more on branch `later`. */
export function makeScene(): Scene {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-bench-'));
  const repository = join(directory, 'repository');
  mkdirSync(repository);
  const git = (...args: string[]) => execFileSync('git', ['-C', repository, ...args], { encoding: 'utf8' }).trim();
  git('init', '-q', '-b', 'main');
  writeFileSync(join(repository, 'run.sh'), '#!/bin/sh\ncat\n', { mode: 0o755 });
  git('add', '.');
  const who = ['-c', 'user.name=bench', '-c', 'user.email=bench@example.org'];
  git(...who, 'commit', '-qm', 'script');
  git('branch', 'later', git(...who, 'commit-tree', 'main^{tree}', '-p', 'main', '-m', 'later'));
  const seed: Seed = { repository: 'bench', script: 'run.sh', commit: git('rev-parse', 'HEAD'), owner: 'bench' };
  const settings = (name: string) => ({
    data_dir: join(directory, name),
    listen: '127.0.0.1:0',
    repositories: { bench: { path: repository } },
    log_level: 'warn',
  });
  return {
    seed,
    directory,
    settings,
    async serve(name, fill, more = {}) {
      const config = { ...settings(name), ...more };
      const log = join(config.data_dir, 'events.sqlite');
      const store = await openSqliteStore(log, () => 0);
      await fill(store, seed);
      await store.close();
      return { ...(await startChild('memoir-server', JSON.stringify(config))), log };
    },
    dispose: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** The body of request `n`. */
export type Body = (n: number) => Uint8Array;

/** Bodies of find_or_create requests that differ in the parameter `sample`, whose eight bytes are set in place. */
export function numbered({ repository, script, code }: Seed, scriptVersion: string): Body {
  const marker = 1_234_567.125;
  const scriptParameters = { ...seedParameters(0), sample: marker };
  const codePaths = code?.codePaths ?? [];
  const bytes = requestBytes({ repository, script, scriptVersion, scriptParameters, codePaths });
  const needle = Buffer.alloc(8);
  needle.writeDoubleLE(marker);
  const at = bytes.indexOf(needle);
  return (n) => {
    bytes.writeDoubleLE(n, at);
    return bytes;
  };
}

/** The same requests, each with a submit_id of its own that begins with `name`. */
export function identified(body: Body, name: string): Body {
  const { number } = CreateJobRequestSchema.field.submitId;
  return (n) => {
    const id = new BinaryWriter().tag(number, WireType.LengthDelimited).string(`${name}${n}`).finish();
    return Buffer.concat([body(n), id]);
  };
}

function requestBytes(request: MessageInitShape<typeof CreateJobRequestSchema>): Buffer {
  const message = create(CreateJobRequestSchema, { ...request, findOrCreate: true });
  return Buffer.from(toBinary(CreateJobRequestSchema, message));
}

/** Bodies of CreateJobs with so many requests, one after the other, as `body` gives them. */
export function batched(body: Body, size: number): Body {
  return (n) => {
    const writer = new BinaryWriter();
    for (let i = 0; i < size; i++) writer.tag(1, WireType.LengthDelimited).bytes(body(n * size + i));
    return writer.finish();
  };
}

/** What to measure. */
export type Measurement = Pick<Load, 'port' | 'path' | 'body' | 'concurrency' | 'headers' | 'tls'> & {
  /** About how long to measure, in seconds. */
  readonly seconds: number;
};

/** Warms up, then measures. Gives also how many calls that made in all. */
export async function measure({ seconds, ...load }: Measurement): Promise<Measured & { readonly calls: number }> {
  const warm = Math.max(500, load.concurrency * 20);
  const { rate } = await runLoad({ ...load, calls: warm });
  const calls = Math.max(500, Math.round(rate * seconds));
  const measured = await runLoad({ ...load, body: (n) => load.body(warm + n), calls });
  return { ...measured, calls: warm + calls };
}

/** Counts the events of a store by type, for a load that was answered with errors measured nothing. */
export async function countEvents(log: string): Promise<ReadonlyMap<string, number>> {
  const store = await openSqliteStore(log, () => 0);
  const types = new Map<string, number>();
  for await (const { type } of store.readAll()) types.set(type, (types.get(type) ?? 0) + 1);
  await store.close();
  return types;
}
