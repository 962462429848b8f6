import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { OfferSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import type { CallError } from '../../src/rpc/call-error.js';
import { type ConfiguredPlaces, checkedPlaces } from '../../src/worker/check-places.js';
import { openHealth, type Place } from '../../src/worker/health.js';
import { openInputCache } from '../../src/worker/inputs/input-cache.js';
import { pipesIn } from '../../src/worker/pipes.js';
import { boundsOf } from '../../src/worker/pool/bounds.js';
import { openPool } from '../../src/worker/pool/pool.js';
import { repositoryPlace, storePlace } from '../../src/worker/run-failure.js';
import { scriptEnvironment } from '../../src/worker/script-environment.js';
import { openContentStore } from '../../src/worker/store/content-store.js';
import { keptOutputs } from '../../src/worker/store/outputs.js';
import { openUnstoredOutputs } from '../../src/worker/store/unstored-outputs.js';
import { openWorkDirectory } from '../../src/worker/work-directory.js';
import { work } from '../../src/worker/worker.js';
import { contentClient } from '../support/content.js';
import { makeRepository } from '../support/git-repository.js';
import { request } from '../support/runs.js';
import { startTestServer } from '../support/server.js';

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-places-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A directory that can be written and from which nothing may be run, if this system has one. */
function noexecDirectory(t: ExecutionContext): string | undefined {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, path = '', type, options = ''] = line.split(' ');
    if (type !== 'tmpfs' || !options.split(',').includes('noexec') || !options.split(',').includes('rw')) continue;
    try {
      const directory = mkdtempSync(join(path, 'memoir-places-'));
      t.teardown(() => rmSync(directory, { recursive: true, force: true }));
      return directory;
    } catch {
      // It is not this user's to write.
    }
  }
  return undefined;
}

test('what a worker is told of and cannot use is refused by name, and nothing is left', async (t) => {
  const base = scratch(t);
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const file = join(base, 'file');
  writeFileSync(file, '');
  const work = join(base, 'work');
  mkdirSync(work);
  const good: ConfiguredPlaces = {
    workDir: work,
    storeDir: join(base, 'store'),
    kept: undefined,
    repositories: { demo: { path: repository.path } },
    minFreeBytes: 1,
    edge: systemEdge,
    onDamage: () => {},
  };
  const noexec = noexecDirectory(t);
  const cases: [wrong: Partial<ConfiguredPlaces>, message: RegExp][] = [
    [{ workDir: join(base, 'none') }, /^--work-dir ".*none" cannot be used: ENOENT/],
    [{ workDir: file }, /^--work-dir ".*file" is no directory/],
    [{ storeDir: file }, /^--store-dir ".*file" cannot be used: /],
    [{ kept: file }, /^--kept ".*file" is no directory/],
    [
      { repositories: { demo: { path: base } } },
      /^--repository "demo=.*" cannot be used: repository "demo" .*not a git/,
    ],
    [{ repositories: { demo: { path: file } } }, /^--repository "demo=.*file" cannot be used: /],
    [{ minFreeBytes: 2 ** 60 }, /^--work-dir ".*work" cannot be used: .* bytes free, of 1152921504606847000 /],
    ...(noexec ? [[{ workDir: noexec }, /^--work-dir .*\(noexec\)/] as [Partial<ConfiguredPlaces>, RegExp]] : []),
  ];
  if (!noexec) t.log('there is no noexec file system that can be written here');
  for (const [wrong, message] of cases) {
    const error = await t.throwsAsync(checkedPlaces({ ...good, ...wrong }), { instanceOf: MemoirError, message });
    t.is((error as MemoirError).code, 'INVALID_ARGUMENT');
    t.deepEqual(
      readdirSync(work).filter((name) => !name.endsWith('.lock')),
      [],
    );
  }
  const { places, work: opened } = await checkedPlaces(good);
  rmSync(opened.path, { recursive: true });
  for (const place of places) await place.probe();
  t.deepEqual(readdirSync(opened.path), ['owner'], 'a directory that something removed is made again');
  rmSync(join(base, 'store'), { recursive: true });
  await t.throwsAsync(async () => {
    for (const place of places) await place.probe();
  });
  await opened.remove();
});

test('a worker whose only permitted repository is not well waits for it', async (t) => {
  const base = scratch(t);
  const policy = join(base, 'policy.toml');
  writeFileSync(
    policy,
    `
[[grants]]
to = ["ada"]
roles = ["submitter"]
repositories = ["demo"]

[[grants]]
to = ["limited"]
roles = ["worker"]
repositories = ["demo"]
`,
  );
  const demo = makeRepository();
  t.teardown(demo.dispose);
  demo.commit({ 'run.sh': '#!/bin/sh\n' });
  const repositories = { demo: demo.path, other: demo.path };
  const server = await startTestServer({ repositories, settings: { policy } });
  t.teardown(() => server.dispose());
  const { job } = await request(server.as('ada'), { repository: 'demo', script: 'run.sh', scriptVersion: 'HEAD' });
  const logger = pino({ level: 'silent' });
  let probes = 0;
  const place: Place = {
    name: repositoryPlace('demo'),
    repository: 'demo',
    async probe() {
      if (++probes === 1) throw new Error('its disk is away');
    },
  };
  const workDirectory = join(base, 'work');
  mkdirSync(workDirectory);
  const content = contentClient(server.address(), 'limited');
  t.teardown(content.close);
  await work(
    {
      worker: server.as('limited').worker,
      repositories: { demo: { path: demo.path }, other: { path: demo.path } },
      kept: undefined,
      claims: ['demo', 'other'],
      environment: scriptEnvironment({}, {}),
      outputs: keptOutputs(await openContentStore(join(base, 'store'), { edge: systemEdge }), storePlace),
      unstored: openUnstoredOutputs({ directory: join(base, 'unstored'), most: 0, edge: systemEdge, logger }),
      staging: { source: content, cache: await openInputCache(join(base, 'inputs'), 0), maxBytes: 0, clone: true },
      health: openHealth([place], { edge: systemEdge, logger }),
      workDirectory,
      pipes: pipesIn(join(workDirectory, 'pipes')),
      jobs: 1,
      pool: openPool({ cores: 1 }),
      bounds: boundsOf({ total: create(OfferSchema) }, 100),
      once: true,
      leaseMs: 10_000,
      name: 'limited-1',
      drainMs: 1_000,
      graceMs: 1_000,
      logLimit: 1_000_000,
      limits: { output: { bytes: 1_000, files: 10 }, work: 1_000_000 },
      edge: systemEdge,
      logger,
    },
    new AbortController().signal,
  );
  t.is(probes, 2);
  t.is((await server.as('ada').jobs.getJob({ uuid: job?.uuid ?? '' })).job?.state, JobState.COMPLETE);
  // Who may run none of them when all are well is told.
  const error = await t.throwsAsync(server.as('ada').worker.claimJob({ repositories: ['demo', 'other'] }));
  t.is((error as CallError).reason, 'NOT_A_WORKER');
});

test('pipes are made ahead, and again where somebody removed them', async (t) => {
  const base = scratch(t);
  const pipes = pipesIn(join(base, 'pipes'));
  for (let i = 0; i < 40; i++) {
    // At once, since some may be made at this very moment.
    if (i === 20) renameSync(join(base, 'pipes'), join(base, 'removed'));
    await pipes.put(join(base, `${i}`));
    t.true(statSync(join(base, `${i}`)).isFIFO());
    t.is(statSync(join(base, `${i}`)).mode & 0o777, 0o600);
  }
  await t.throwsAsync(pipes.put(join(base, 'none', 'pipe')), { message: /ENOENT/ });
});

test('workers with one work directory have directories of their own, whose names come back', async (t) => {
  const base = scratch(t);
  mkdirSync(join(base, 'memoir-worker-2'));
  writeFileSync(join(base, 'memoir-worker-2/owner'), 'of a worker that died');
  mkdirSync(join(base, 'memoir-worker-someone'));
  const one = await openWorkDirectory(base, process.pid);
  t.is(one.path, join(base, 'memoir-worker-1'));
  t.deepEqual(
    readdirSync(base).filter((name) => !name.startsWith('.')),
    ['memoir-worker-1', 'memoir-worker-someone'],
  );
  await one.remove();
  const again = await openWorkDirectory(base, process.pid);
  t.is(again.path, one.path);
  await again.remove();
});

test('the environment of scripts has what is named, and nothing that a run sets itself', (t) => {
  const own = { PATH: '/own', SECRET: 's', HOME: '/root' };
  t.deepEqual(Object.keys(scriptEnvironment(own, {})).sort(), ['LANG', 'PATH', 'TZ']);
  t.not(scriptEnvironment(own, {}).PATH, '/own');
  t.like(scriptEnvironment(own, { path: '/opt/bin', pass: ['SECRET'], set: { A: 'b' } }), {
    PATH: '/opt/bin',
    SECRET: 's',
    A: 'b',
  });
  t.is(scriptEnvironment(own, { pass: ['PATH'] }).PATH, '/own');
  for (const wrong of [
    { pass: ['UNSET'] },
    { pass: ['HOME'] },
    { set: { MEMOIR_OUTPUT: 'x' } },
    { set: { TMPDIR: 'x' } },
    { set: { 'A B': 'x' } },
  ]) {
    t.throws(() => scriptEnvironment(own, wrong), { instanceOf: MemoirError, message: /^--(pass-env|env) "/ });
  }
});
