import { create, type JsonObject } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type WorkerTarget, WorkerTargetSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { accessOf } from '../../src/domain/access.js';
import type { ExclusionTarget } from '../../src/domain/exclusions.js';
import { exclusionUseCases } from '../../src/exclusions/exclude.js';
import { type ExclusionsBench, type JobSketch, openExclusionsBench, type Place } from '../support/exclusions.js';
import { makeRepository, type TestRepository } from '../support/git-repository.js';
import { test } from '../support/serial.js';

const commitOf = (repository: string, commit: string): ExclusionTarget => ({
  case: 'commit',
  value: { $typeName: 'memoir.jobs.v1.CommitTarget', repository, commit },
});
const workerOf = (worker: Partial<WorkerTarget>): ExclusionTarget => ({
  case: 'worker',
  value: create(WorkerTargetSchema, { principal: 'worker', ...worker } as WorkerTarget),
});
const seconds = (time: number) => timestampFromMs(time * 1_000);
const rangeOf = (repository: string, introducedBy: string, fixedBy = ''): ExclusionTarget => ({
  case: 'commitRange',
  value: { $typeName: 'memoir.jobs.v1.CommitRangeTarget', repository, introducedBy, fixedBy },
});

/** Jobs that differ in one thing each, and a chain of jobs that took the output of one. */
async function makeJobs(bench: ExclusionsBench, { git }: TestRepository) {
  const [first, second, third] = ['main~2', 'main~1', 'main'].map((name) => git('rev-parse', name)) as [
    string,
    string,
    string,
  ];
  const jobs = new Map<string, readonly [Job, JobSketch]>();
  async function add(name: string, sketch: JobSketch, output = `sha256:${name}`, at: Place = {}) {
    const job = await bench.request(sketch);
    if (output !== '') await bench.complete(job, output, 'log', at);
    jobs.set(name, [job, sketch]);
  }
  const plain = (parameters: JsonObject, more: Partial<JobSketch> = {}): JobSketch => ({
    repository: 'one',
    commit: second,
    parameters,
    ...more,
  });
  await add('old', plain({ n: 1 }, { commit: first }));
  await add('it', plain({ n: 2 }, { image: 'image-1' }), 'sha256:it', { name: 'cellar', from: 1_000, until: 2_000 });
  await add('new', plain({ n: 3 }, { commit: third }));
  await add('elsewhere', plain({ n: 4 }, { repository: 'other' }));
  await add('taker', plain({ deep: [{ er: 'sha256:it' }] }, { repository: 'other' }));
  await add('taker of the taker', plain({ in: 'sha256:taker' }, { repository: 'other' }), '');
  await add('named only', plain({ 'sha256:it': 'sha256:it2' }, { repository: 'other' }));
  return { jobs, first, second, third };
}

test('every kind of target, with and without cascade, standing and lifted', async (t) => {
  t.timeout(300_000);
  const repository = makeRepository();
  for (const n of [1, 2, 3]) repository.commit({ n: String(n) });
  const bench = await openExclusionsBench({ one: repository.path, other: repository.path });
  const { jobs, second } = await makeJobs(bench, repository);
  const ada = bench.caller('ada');
  const uuidOf = (name: string) => jobs.get(name)?.[0].uuid ?? '';
  const nameOf = (uuid: string) => [...jobs].find(([, [job]]) => job.uuid === uuid)?.[0] ?? uuid;
  const after = ['taker', 'taker of the taker'];
  const cases: [name: string, target: ExclusionTarget, hit: string[], through: string[]][] = [
    ['job', { case: 'jobUuid', value: uuidOf('it') }, ['it'], after],
    ['commit', commitOf('one', 'main~1'), ['it'], after],
    ['commit range', rangeOf('one', 'main~1', 'main'), ['it'], after],
    ['open commit range', rangeOf('one', second.slice(0, 10)), ['it', 'new'], after],
    ['commit of another repository', commitOf('other', 'main~1'), ['elsewhere', ...after, 'named only'], []],
    ['image', { case: 'dockerImageLocator', value: 'image-1' }, ['it'], after],
    ['output', { case: 'output', value: 'sha256:it' }, ['it'], after],
    ['worker', workerOf({ workerName: 'cellar' }), ['it'], after],
    ['worker at a time', workerOf({ since: seconds(2), until: seconds(3) }), ['it'], after],
    ['worker in between', workerOf({ since: seconds(1.2), until: seconds(1.5) }), ['it'], after],
    ['worker until a time', workerOf({ workerName: 'cellar', until: seconds(1.001) }), ['it'], after],
    ['worker before', workerOf({ workerName: 'cellar', until: seconds(1) }), [], []],
    ['worker later', workerOf({ since: seconds(2.001) }), [], []],
    ['worker of another principal', workerOf({ principal: 'another' }), [], []],
    ['worker of another name', workerOf({ workerName: 'attic' }), [], []],
    ['nothing that there is', { case: 'output', value: 'sha256:nothing' }, [], []],
  ];
  const excluded = async () => {
    const names: string[] = [];
    for (const [name, [job, sketch]] of jobs) if (await bench.ruledOut(job, sketch)) names.push(name);
    return names;
  };
  for (const [name, target, hit, through] of cases) {
    for (const cascade of [false, true]) {
      const what = `${name}, ${cascade ? 'with' : 'without'} cascade`;
      const wanted = cascade ? [...hit, ...through] : hit;
      const order = { target, cascade, reason: what };
      const preview = await bench.exclusions.preview(ada, order, 100);
      t.deepEqual(preview.hits.first.map(({ uuid }) => nameOf(uuid)).sort(), [...wanted].sort(), what);
      t.deepEqual(await excluded(), [], `${what}: a preview`);
      const { exclusion, hits } = await bench.exclusions.exclude(ada, order, 1);
      t.deepEqual([hits.count, hits.first.length], [wanted.length, Math.min(1, wanted.length)], what);
      t.deepEqual((await excluded()).sort(), [...wanted].sort(), what);
      const retry = await bench.exclusions.exclude(ada, order, 100);
      t.is(retry.exclusion.id, exclusion.id, `${what}: retried`);
      t.deepEqual(retry.hits.count, wanted.length);
      await bench.exclusions.reinstate(ada, exclusion.id, 'mended');
      t.deepEqual(await excluded(), [], `${what}: lifted`);
    }
  }
  await bench.close();
  repository.dispose();
});

test('jobs to come are hit too: on later commits, by their output, and by what they took', async (t) => {
  const repository = makeRepository();
  repository.commit({ n: '1' });
  const bench = await openExclusionsBench({ one: repository.path });
  const ada = bench.caller('ada');
  const { exclusion } = await bench.exclusions.exclude(
    ada,
    { target: rangeOf('one', 'main'), cascade: true, reason: 'r' },
    1,
  );
  const commit = repository.commit({ n: '2' });
  repository.git('checkout', '--quiet', '--orphan', 'apart');
  const apart = repository.commit({ n: '3' });
  const giver: JobSketch = { repository: 'one', commit, parameters: { n: 1 } };
  const taker: JobSketch = { repository: 'one', commit: apart, parameters: { n: ['o1/x', 'o1'] } };
  const other: JobSketch = { repository: 'one', commit: apart, parameters: { n: 'o2' } };
  const [given, took, rest] = [await bench.request(giver), await bench.request(taker), await bench.request(other)];
  t.is(await bench.ruledOut(given, giver), exclusion.id);
  t.is(await bench.ruledOut(took, taker), undefined);
  await bench.complete(given, 'o1');
  t.is(await bench.ruledOut(took, taker), exclusion.id);
  t.is(await bench.ruledOut(rest, other), undefined);
  await bench.complete(took, 'o2');
  t.is(await bench.ruledOut(rest, other), exclusion.id);
  await bench.close();
  repository.dispose();
});

test('what a worker runs is hit while it does, and with cascade what takes its output', async (t) => {
  const repository = makeRepository();
  const commit = repository.commit({ n: '1' });
  const bench = await openExclusionsBench({ one: repository.path });
  const ada = bench.caller('ada');
  const target = workerOf({ workerName: 'cellar', since: seconds(10) });
  const { exclusion } = await bench.exclusions.exclude(ada, { target, cascade: true, reason: 'bad RAM' }, 1);
  const sketches = [1, 'o1', 3].map((taken): JobSketch => ({ repository: 'one', commit, parameters: { taken } }));
  const [ran, took, earlier] = sketches as [JobSketch, JobSketch, JobSketch];
  const [first, second, third] = [await bench.request(ran), await bench.request(took), await bench.request(earlier)];
  t.is(await bench.ruledOut(first, ran), undefined, 'queued');
  await bench.start(first, { name: 'cellar', from: 9_000 });
  t.is(await bench.ruledOut(first, ran), exclusion.id, 'running');
  const lost = { kind: 'expire_lease', leaseRevision: 1, chance: 0, now: 11_000 } as const;
  await bench.context.streams.execute(ada, first.uuid, lost);
  t.is(await bench.ruledOut(first, ran), undefined, 'it failed');
  await bench.complete(third, 'o1', 'log', { name: 'cellar', from: 9_000, until: 9_999 });
  t.is(await bench.ruledOut(third, earlier), undefined, 'before the time');
  t.is(await bench.ruledOut(second, took), undefined, 'what took its output');
  const again = await bench.request(ran);
  await bench.complete(again, 'o1', 'log', { name: 'cellar', from: 9_000, until: 10_000 });
  t.is(await bench.ruledOut(again, ran), exclusion.id, 'it ended in the time');
  t.is(await bench.ruledOut(second, took), exclusion.id, 'what took the same output');
  const list = bench.context.readModel.exclusions.list({ includeReinstated: false, before: 1_000, limit: 2 });
  t.like(list, { 0: { repository: '', exclusion: { target: { case: 'worker' } } } });
  await bench.close();
  repository.dispose();
});

test('a worker that is none, and a time that is none, are refused', async (t) => {
  const repository = makeRepository();
  const bench = await openExclusionsBench({ one: repository.path });
  const ada = bench.caller('ada');
  const cases: [worker: Partial<WorkerTarget>, reason: string, message: RegExp][] = [
    [{ principal: '' }, 'REQUIRED', /^worker\.principal is required$/],
    [{ workerName: 'x'.repeat(257) }, 'TOO_LONG', /^worker\.worker_name .* has 257 bytes/],
    [{ since: seconds(2), until: seconds(2) }, 'EMPTY_TIME', /^worker\.until 1970-01-01T00:00:02\.000Z is not after/],
    [{ since: create(TimestampSchema, { nanos: -1 }) }, 'OUT_OF_RANGE', /^worker\.since of 0 seconds and -1 nanosec/],
  ];
  const end = await bench.context.store.end();
  const before = exclusionUseCases(bench.context, bench.rules);
  const early = before.exclude(ada, { target: workerOf({}), cascade: false, reason: 'r' }, 1);
  t.like(await t.throwsAsync(early), {
    code: 'FAILED_PRECONDITION',
    reason: 'LOG_FORMAT_NOT_ALLOWED',
    field: 'worker',
  });
  for (const [worker, reason, message] of cases) {
    const order = { target: workerOf(worker), cascade: false, reason: 'r' };
    for (const ordered of [bench.exclusions.preview(ada, order, 1), bench.exclusions.exclude(ada, order, 1)]) {
      t.like(await t.throwsAsync(ordered, { message }), { code: 'INVALID_ARGUMENT', reason });
    }
  }
  const grants = [{ to: ['eve'], roles: ['admin' as const], repositories: ['one'] }];
  const eve = bench.caller('eve', accessOf({ groups: {}, grants }, 'eve'));
  const order = { target: workerOf({}), cascade: false, reason: 'r' };
  t.like(await t.throwsAsync(bench.exclusions.exclude(eve, order, 1)), { code: 'PERMISSION_DENIED' });
  t.is(await bench.context.store.end(), end, 'nothing is recorded');
  await bench.close();
  repository.dispose();
});

test('cycles end', async (t) => {
  const repository = makeRepository();
  const commit = repository.commit({ n: '1' });
  const bench = await openExclusionsBench({ one: repository.path });
  const ada = bench.caller('ada');
  const sketches = ['c', 'a', 'b'].map((taken): JobSketch => ({ repository: 'one', commit, parameters: { taken } }));
  const jobs: Job[] = [];
  for (const [i, sketch] of sketches.entries()) {
    const job = await bench.request(sketch);
    await bench.complete(job, ['a', 'b', 'c'][i] as string);
    jobs.push(job);
  }
  const target: ExclusionTarget = { case: 'jobUuid', value: jobs[1]?.uuid ?? '' };
  const { hits } = await bench.exclusions.exclude(ada, { target, cascade: true, reason: 'r' }, 10);
  t.deepEqual(hits.first, [
    { uuid: jobs[0]?.uuid ?? '', through: jobs[2]?.uuid ?? '' },
    { uuid: jobs[1]?.uuid ?? '', through: '' },
    { uuid: jobs[2]?.uuid ?? '', through: jobs[1]?.uuid ?? '' },
  ]);
  await bench.close();
  repository.dispose();
});

test('a commit of which nobody can tell whether it is in the range is not reused', async (t) => {
  const repository = makeRepository();
  repository.commit({ n: '1' });
  const bench = await openExclusionsBench({ one: repository.path });
  const ada = bench.caller('ada');
  const { exclusion } = await bench.exclusions.exclude(
    ada,
    { target: rangeOf('one', 'main'), cascade: false, reason: 'r' },
    1,
  );
  const gone: JobSketch = { repository: 'one', commit: 'f'.repeat(40), parameters: {} };
  t.is(await bench.ruledOut(await bench.request(gone), gone), exclusion.id);
  await bench.close();
  repository.dispose();
});

test('a decision tells of other jobs and other repositories only to those who may know of them', async (t) => {
  const repository = makeRepository();
  const commit = repository.commit({ n: '1' });
  const bench = await openExclusionsBench({ secret: repository.path, open: repository.path });
  const giver: JobSketch = { repository: 'secret', commit, parameters: {} };
  const given = await bench.request(giver);
  await bench.complete(given, 'o1');
  const taker: JobSketch = { repository: 'open', commit, parameters: { x: 'o1' } };
  const { ran: _, ...took } = await bench.request(taker);
  const target: ExclusionTarget = commitOf('secret', 'main');
  const order = { target, cascade: true, reason: 'the secret reason' };
  const { exclusion } = await bench.exclusions.exclude(bench.caller('ada'), order, 10);
  await bench.settle();
  const question = { repository: 'open', parameters: () => ({ x: 'o1' }), candidates: [took] };
  const excluded = (await bench.rules.ruleFor(question))?.(took);
  if (!excluded) return t.fail('it is not excluded');
  const policy = {
    groups: {},
    grants: [
      { to: ['eve'], roles: ['reader' as const], repositories: ['open'] },
      { to: ['sue'], roles: ['admin' as const], repositories: ['secret'] },
    ],
  };
  const told = bench.rules.textOf(excluded, accessOf(policy, 'sue'));
  t.is(
    told,
    `it took the output "o1" of job ${given.uuid}, which is under exclusion ${exclusion.id} of commit ${commit} of "secret": ` +
      '"the secret reason"',
  );
  const hidden = bench.rules.textOf(excluded, accessOf(policy, 'eve'));
  t.is(hidden, `it took the output "o1", which is under exclusion ${exclusion.id}`);
  const preview = await bench.exclusions.preview(
    bench.caller('sue', accessOf(policy, 'sue')),
    { ...order, reason: 'x' },
    10,
  );
  t.deepEqual(
    preview.hits,
    { first: [], count: 0 },
    'one that is excluded already is no hit, and what may not be read is none',
  );
  await bench.close();
  repository.dispose();
});
