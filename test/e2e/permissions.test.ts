import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { rawCall } from '../support/raw-call.js';
import { failure, refused } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-policy-'));
const policy = join(dir, 'policy.toml');
writeFileSync(
  policy,
  `
[groups]
lab = ["ada", "bob"]

[[grants]]
to = ["group:lab"]
roles = ["submitter"]
repositories = ["project"]

[[grants]]
to = ["runner"]
roles = ["worker"]
repositories = ["project"]

[[grants]]
to = ["eve"]
roles = ["submitter", "worker"]
repositories = ["elsewhere"]

[[grants]]
to = ["rita"]
roles = ["reader"]
repositories = ["**"]

[[grants]]
to = ["root"]
roles = ["admin"]
repositories = ["**"]
`,
);
const path = project.repository.path;
const server = serverOfFile({
  repositories: { project: path, elsewhere: path, arvados: path },
  settings: { policy },
});
const [ada, bob, runner, eve, rita, root] = ['ada', 'bob', 'runner', 'eve', 'rita', 'root'].map(server.as) as [
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
];

test.after.always(() => {
  project.repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

/** The present end of the log, as a moment of the past. */
const endNow = async () => ({ moment: { case: 'position' as const, value: BigInt(await server.end()) } });

const own = (name: string) => ({ scriptParameters: { test: name } });

test.serial('a job that may not be read is as one that does not exist, by every method', async (t) => {
  const { consistencyToken, ...made } = await request(ada, own('hidden'));
  const uuid = uuidOf(made);
  await ada.jobs.getJob({ uuid, consistencyToken });
  const calls: Record<string, () => Promise<unknown>> = {
    getJob: () => eve.jobs.getJob({ uuid }),
    'getJob of the past': async () => eve.jobs.getJob({ uuid, asOf: await endNow() }),
    watchJob: () => collect(eve.jobs.watchJob({ uuid })),
    tailJobLog: () => collect(eve.jobs.tailJobLog({ uuid, noFollow: true })),
    compareJobs: () => eve.jobs.compareJobs({ a: uuid, b: uuid }),
    getLineage: () => eve.jobs.getLineage({ uuid }),
    cancelJob: () => eve.jobs.cancelJob({ uuid }),
    updateJob: () => eve.jobs.updateJob({ job: { uuid, priority: 1 }, updateMask: { paths: ['priority'] } }),
    deleteJob: () => eve.jobs.deleteJob({ uuid }),
    retryJob: () => eve.jobs.retryJob({ uuid }),
    readHistory: () => collect(eve.history.readHistory({ uuid })),
    claimJob: () => eve.worker.claimJob({ uuid }),
    heartbeat: () => eve.worker.heartbeat({ uuid }),
    completeJob: () => eve.worker.completeJob({ uuid, output: 'o', log: 'l' }),
    failJob: () => eve.worker.failJob({ uuid, reason: 'X' }),
    appendJobLog: () => eve.worker.appendJobLog([{ uuid, text: 'x' }]),
  };
  for (const [name, call] of Object.entries(calls)) {
    t.log(name);
    await refused(t, server, call, {
      code: 'NOT_FOUND',
      reason: 'JOB_NOT_FOUND',
      naming: `there is no job "${uuid}"`,
    });
  }
  t.is((await eve.jobs.listJobs({})).jobs.length, 0);
  t.is((await eve.jobs.listJobs({ asOf: await endNow(), countTotal: true })).totalSize, 0n);
  t.is((await eve.jobs.listJobs({ countTotal: true })).totalSize, 0n);
  t.is((await eve.jobs.getQueue({})).jobs.length, 0);
  t.deepEqual(
    (await rita.jobs.listJobs({})).jobs.map((job) => job.uuid),
    [uuid],
  );
  t.true((await eve.jobs.getQueueSize({})).size > 0n, 'the size of the queue is for everybody');
  t.is((await eve.worker.claimJob({})).job, undefined, 'and no worker gets what it may not run');
  const noWorker = { code: 'PERMISSION_DENIED', reason: 'NOT_A_WORKER' } as const;
  for (const repositories of [['project'], ['unknown']]) {
    const naming = 'the repositories asked for: it has no role worker there';
    await refused(t, server, () => eve.worker.claimJob({ repositories }), { ...noWorker, naming });
  }
});

test.serial('a repository that may not be read is as one that is not configured', async (t) => {
  const unknown = { code: 'INVALID_ARGUMENT', reason: 'UNKNOWN_REPOSITORY', field: 'repository' } as const;
  const naming = 'repository "project" is not configured';
  await refused(t, server, () => request(eve), { ...unknown, naming });
  await refused(
    t,
    server,
    () => eve.jobs.explainReuse({ request: { repository: 'project', script: 'run.sh', scriptVersion: 'main' } }),
    {
      ...unknown,
      naming,
    },
  );
  const asOf = await endNow();
  const explained = { repository: 'project', script: 'run.sh', scriptVersion: 'main' };
  await refused(t, server, () => eve.jobs.explainReuse({ request: explained, asOf }), { ...unknown, naming });
  await refused(t, server, () => eve.repositories.resolveRefspec({ repository: 'project', refspec: 'main' }), {
    ...unknown,
    naming,
  });
  await refused(t, server, () => collect(eve.repositories.expandRange({ repository: 'project' })), {
    ...unknown,
    naming,
  });
  const { repositories } = await eve.repositories.listRepositories({});
  t.deepEqual(
    repositories.map(({ name }) => name),
    ['elsewhere'],
  );
});

test.serial('nothing is resolved in a repository that the caller may not know of', async (t) => {
  const field = 'runtime_constraints.arvados_sdk_version';
  for (const version of ['main', 'v1', ':/a', project.first, 'no-such-branch']) {
    const work = { repository: 'elsewhere', runtimeConstraints: { dockerImage: 'tool', arvadosSdkVersion: version } };
    await refused(t, server, () => request(eve, work), {
      code: 'INVALID_ARGUMENT',
      reason: 'UNKNOWN_REPOSITORY',
      field,
      naming: `${field} "${version}" cannot be resolved: no repository "arvados" is configured`,
    });
    for (const operator of ['in git', 'not in git']) {
      const filters = [
        ['repository', '=', 'elsewhere'],
        ['script', '=', 'run.sh'],
        ['arvados_sdk_version', operator, version],
      ].map((triple) => filterFromTriple(triple));
      const unknown = { code: 'INVALID_ARGUMENT', reason: 'UNKNOWN_REPOSITORY', field: 'repository' } as const;
      const naming = 'repository "arvados" is not configured';
      const asked = { repository: 'elsewhere', script: 'run.sh', scriptVersion: 'main', findOrCreate: true, filters };
      for (const call of [
        () => eve.jobs.listJobs({ filters }),
        () => eve.jobs.getQueue({ filters }),
        () => eve.jobs.explainReuse({ request: asked }),
        () => find(eve, { repository: 'elsewhere', filters }),
      ]) {
        await refused(t, server, call, { ...unknown, naming });
      }
    }
  }
  const image = { hash: `sha256:${'a'.repeat(64)}`, repository: 'tool', tag: 'latest' };
  await root.images.registerImage(image);
  const sdk = { runtimeConstraints: { dockerImage: 'tool', arvadosSdkVersion: 'v1' }, ...own('sdk') };
  t.is((await request(root, sdk)).job?.arvadosSdkVersion, project.first);
});

test.serial('to read is not to steer', async (t) => {
  const made = await request(ada, own('steer'));
  const uuid = uuidOf(made);
  const { consistencyToken } = made;
  t.is((await rita.jobs.getJob({ uuid, consistencyToken })).job?.owner, 'ada');
  const denied = { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED' } as const;
  for (const other of [bob, rita, runner]) {
    await refused(t, server, () => other.jobs.cancelJob({ uuid }), { ...denied, naming: `may not cancel job ${uuid}` });
    await refused(t, server, () => other.jobs.deleteJob({ uuid }), denied);
  }
  await refused(t, server, () => request(rita), {
    ...denied,
    naming: '"rita" may not request jobs of repository "project"',
  });
  await refused(t, server, () => bob.worker.claimJob({ uuid }), { ...denied, naming: `may not start job ${uuid}` });
  t.is((await root.jobs.cancelJob({ uuid })).job?.cancelledBy, 'root');
  t.is((await ada.jobs.deleteJob({ uuid })).consistencyToken === '', false);
});

test.serial('a cascade leaves what is not the caller’s', async (t) => {
  const of = { bob: uuidOf(await request(bob, own('of bob'))), ada: uuidOf(await request(ada, own('of ada'))) };
  const components = { theirs: of.bob, mine: of.ada };
  const parent = uuidOf(await request(ada, { components, ...own('parent') }));
  const { cancelledUuids } = await ada.jobs.cancelJob({ uuid: parent, cascade: true });
  t.deepEqual(new Set(cancelledUuids), new Set([parent, of.ada]));
  const { job } = await bob.jobs.updateJob({ job: { uuid: of.bob }, updateMask: { paths: ['description'] } });
  t.is(job?.state, JobState.QUEUED);
});

test.serial('colleagues share what one of them asked for, by a worker that only works', async (t) => {
  const uuid = uuidOf(await find(ada, own('shared')));
  t.is(uuidOf(await find(bob, own('shared'))), uuid);
  await complete(runner, uuid);
  const again = await find(bob, own('shared'));
  t.is(uuidOf(again), uuid);
  await refused(t, server, () => request(runner), { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED' });
});

test.serial('exclusions are ordered and seen by those whom they concern', async (t) => {
  const uuid = uuidOf(await request(ada, own('excluded')));
  const job = { target: { case: 'jobUuid', value: uuid }, reason: 'wrong' } as const;
  const commit = {
    target: { case: 'commit', value: { repository: 'project', commit: 'main' } },
    reason: 'wrong',
  } as const;
  const output = { target: { case: 'output', value: 'sha256:out' }, reason: 'wrong' } as const;
  const denied = { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED' } as const;
  await refused(t, server, () => eve.exclusions.excludeFromReuse(job), { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND' });
  await refused(t, server, () => bob.exclusions.excludeFromReuse(job), denied);
  await refused(t, server, () => ada.exclusions.excludeFromReuse(commit), denied);
  await refused(t, server, () => eve.exclusions.excludeFromReuse({ ...commit, dryRun: true }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_REPOSITORY',
    field: 'repository',
  });
  await refused(t, server, () => ada.exclusions.excludeFromReuse(output), denied);
  await refused(t, server, () => ada.exclusions.reportOutputLost({ output: 'sha256:out', reason: 'gone' }), denied);

  const ordered = await ada.exclusions.excludeFromReuse(job);
  await root.exclusions.excludeFromReuse(output);
  const { consistencyToken } = await root.exclusions.excludeFromReuse(commit);
  const listed = async (who: typeof ada) =>
    (await who.exclusions.listExclusions({ consistencyToken })).exclusions.map((one) => one.exclusion?.target.case);
  t.deepEqual(await listed(root), ['commit', 'output', 'jobUuid']);
  t.deepEqual(await listed(bob), ['commit', 'jobUuid']);
  t.deepEqual(await listed(eve), []);
  const id = ordered.exclusion?.id ?? '';
  await refused(t, server, () => eve.exclusions.reinstateForReuse({ id, reason: 'right' }), {
    code: 'NOT_FOUND',
    reason: 'EXCLUSION_NOT_FOUND',
  });
  await refused(t, server, () => bob.exclusions.reinstateForReuse({ id, reason: 'right' }), denied);
  await ada.exclusions.reinstateForReuse({ id, reason: 'right' });
});

test.serial('a call that names nobody is UNAUTHENTICATED where a policy says who may do what', async (t) => {
  for (const name of ['CreateJob', 'GetQueueSize', 'ListJobs', 'WatchJob']) {
    const path = `/memoir.jobs.v1.JobsService/${name}`;
    await refused(t, server, () => rawCall(server.address(), path, Buffer.alloc(0)), {
      code: 'UNAUTHENTICATED',
      reason: 'NO_PRINCIPAL',
      naming: 'memoir-principal',
    });
  }
});

test.serial('what a decision was taken from is for audits of the log, not for whoever may read the job', async (t) => {
  const made = await find(ada, { scriptVersion: 'v1', ...own('basis') });
  await complete(runner, uuidOf(made), 'sha256:basis');
  await find(bob, { scriptVersion: 'v1', ...own('basis') });
  const events = await collect(rita.history.readHistory({ uuid: uuidOf(made) }));
  const decided = events.flatMap(({ event }) => {
    const one = event?.event;
    return one?.case === 'jobRequested' || one?.case === 'jobReused' ? [one.value] : [];
  });
  t.is(decided.length, 2);
  t.true(decided.every(({ decision, basis }) => decision !== undefined && basis === undefined));
});

test.serial('who may no longer read a job is not told how it goes on, in a call under way neither', async (t) => {
  const { job } = await request(ada, own('withdrawn'));
  const uuid = job?.uuid ?? '';
  const stranger = server.as('zoe');
  const before = readFileSync(policy, 'utf8');
  const change = async (text: string, reads: boolean) => {
    writeFileSync(policy, text);
    await until('the policy', async () => {
      const answer = await stranger.jobs.getJob({ uuid }).then(
        () => true,
        () => false,
      );
      return answer === reads;
    });
  };
  await change(`${before}\n[[grants]]\nto = ["zoe"]\nroles = ["reader"]\nrepositories = ["project"]\n`, true);
  const watch = stranger.jobs.watchJob({ uuid })[Symbol.asyncIterator]();
  const tail = stranger.jobs.tailJobLog({ uuid })[Symbol.asyncIterator]();
  await watch.next();
  const tailed = failure(t, () => tail.next());
  await change(before, false);
  await ada.jobs.cancelJob({ uuid });
  t.is((await failure(t, () => watch.next())).reason, 'JOB_NOT_FOUND');
  t.is((await tailed).reason, 'JOB_NOT_FOUND');
});
