import type { ExecutionContext } from 'ava';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { ServerConfig } from '../../src/config.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { systemEdge } from '../../src/edge.js';
import { naiveMatch, type Triple } from '../domain/filters/naive.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { type Clients, startTestServer } from '../support/server.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

async function start(t: ExecutionContext, settings: Partial<ServerConfig> = {}, edge = systemEdge) {
  const server = await startTestServer({ repositories: { project: project.repository.path }, settings, edge });
  t.teardown(() => server.dispose());
  return server;
}

const filters = (...triples: Triple[]) => triples.map((triple) => filterFromTriple(triple));

type Page = { readonly jobs: Job[]; readonly nextPageToken: string };

async function walk(next: (pageToken: string) => Promise<Page>, between: () => Promise<unknown> = async () => {}) {
  const found: string[] = [];
  for (let token = ''; ; await between()) {
    const { jobs, nextPageToken } = await next(token);
    found.push(...jobs.map(({ uuid }) => uuid));
    if (nextPageToken === '') return found;
    token = nextPageToken;
  }
}

async function jobsOf(clients: Clients, uuids: readonly string[], consistencyToken: string): Promise<Job[]> {
  const answers = await Promise.all(uuids.map((uuid) => clients.jobs.getJob({ uuid, consistencyToken })));
  return answers.flatMap(({ job }) => (job ? [job] : []));
}

test('pages under filters and any order hold every job once while others arrive', async (t) => {
  let now = 1_700_000_000_000;
  const server = await start(t, {}, { ...systemEdge, now: () => now });
  const ada = server.as('ada');
  let made = 0;
  const make = async () => {
    const i = made++;
    now += i % 3;
    const scriptParameters = { i, even: i % 2 === 0 };
    return uuidOf(
      await request(ada, { scriptParameters, priority: (i * 7) % 5, description: i % 4 === 0 ? '' : `d${i % 6}` }),
    );
  };
  const uuids: string[] = [];
  for (let i = 0; i < 60; i++) uuids.push(await make());
  const consistencyToken = String(await server.end());
  const all = await jobsOf(ada, uuids, consistencyToken);
  const cases: [triples: Triple[], orderBy: string, key: (job: Job) => (string | number)[]][] = [
    [[['script_parameters.even', '=', true]], '', (job) => [-uuids.indexOf(job.uuid)]],
    [
      [['priority', '>=', 2]],
      'priority desc, description',
      ({ priority, description, uuid }) => [-priority, description, uuids.indexOf(uuid)],
    ],
    [
      [['description', '!=', 'd1']],
      'description, priority desc',
      ({ description, priority, uuid }) => [description, -priority, -uuids.indexOf(uuid)],
    ],
    [[], 'started_at desc, priority', ({ priority, uuid }) => [priority, uuids.indexOf(uuid)]],
    [[['created_at', '<=', new Date(now).toISOString()]], 'uuid', ({ uuid }) => [uuid]],
  ];
  for (const [triples, orderBy, key] of cases) {
    const expected = all
      .filter((job) => triples.every((triple) => naiveMatch(job, triple)))
      .map((job) => ({ uuid: job.uuid, key: key(job) }))
      .sort((a, b) => order(a.key, b.key))
      .map(({ uuid }) => uuid);
    const { totalSize } = await ada.jobs.listJobs({
      filters: filters(...triples),
      countTotal: true,
      pageSize: 1,
      consistencyToken,
    });
    const before = made;
    const found = await walk(
      (pageToken) =>
        ada.jobs.listJobs({ filters: filters(...triples), orderBy, pageSize: 7, pageToken, consistencyToken }),
      make,
    );
    // What arrives meanwhile may stand behind the page, but nothing that was there is missed, repeated or moved.
    t.is(new Set(found).size, found.length, orderBy);
    t.deepEqual(
      found.filter((uuid) => uuids.includes(uuid)),
      expected,
      orderBy,
    );
    t.true(totalSize !== undefined && totalSize >= expected.length && made > before + 2);
  }
});

function order(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (const [i, x] of a.entries()) {
    const y = b[i] as typeof x;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

test('a token is good for its own list only', async (t) => {
  const server = await start(t);
  const ada = server.as('ada');
  for (let i = 0; i < 5; i++) await request(ada, { scriptParameters: { i } });
  const consistencyToken = String(await server.end());
  const some = filters(['owner', '=', 'ada']);
  const { nextPageToken: pageToken } = await ada.jobs.listJobs({ filters: some, pageSize: 2, consistencyToken });
  t.is((await ada.jobs.listJobs({ filters: some, pageSize: 1, pageToken, countTotal: true })).jobs.length, 1);
  const others = [
    () => ada.jobs.listJobs({ pageToken }),
    () => ada.jobs.listJobs({ filters: filters(['owner', '=', 'bob']), pageToken }),
    () => ada.jobs.listJobs({ filters: [...some, ...some], pageToken }),
    () => ada.jobs.listJobs({ filters: some, orderBy: 'created_at', pageToken }),
    () => ada.jobs.getQueue({ filters: some, pageToken }),
  ];
  for (const call of others) {
    await refused(t, server, call, { code: 'INVALID_ARGUMENT', reason: 'TOKEN_OF_ANOTHER_LIST', field: 'page_token' });
  }
  const [digest] = JSON.parse(Buffer.from(pageToken, 'base64url').toString()) as [string];
  const forge = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');
  const forged = [
    'x',
    forge(),
    forge(digest),
    forge(digest, 'x', 1),
    forge(digest, 1, 2, 3),
    forge(digest, {}, 1),
    '[]',
    `${pageToken}!`.repeat(9),
  ];
  for (const token of forged) {
    const refusal = { code: 'INVALID_ARGUMENT', reason: 'BAD_TOKEN', field: 'page_token' } as const;
    await refused(t, server, () => ada.jobs.listJobs({ filters: some, pageToken: token }), refusal);
  }
});

test('the queue under filters keeps its order, and is counted', async (t) => {
  const server = await start(t);
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const made: [string, number, string][] = [];
  for (let i = 0; i < 24; i++) {
    const [clients, owner] = i % 3 === 0 ? [bob, 'bob'] : [ada, 'ada'];
    made.push([uuidOf(await request(clients, { priority: i % 4, scriptParameters: { i } })), i % 4, owner]);
  }
  await complete(bob, made[1]?.[0] ?? '');
  const consistencyToken = String(await server.end());
  const expected = made
    .filter(([, priority, owner], i) => i !== 1 && owner === 'ada' && priority !== 2)
    .toSorted((a, b) => b[1] - a[1]);
  const those = filters(['owner', '=', 'ada'], ['priority', '!=', 2]);
  const found = await walk((pageToken) =>
    ada.jobs.getQueue({ filters: those, pageSize: 4, pageToken, consistencyToken }),
  );
  t.deepEqual(
    found,
    expected.map(([uuid]) => uuid),
  );
  const { totalSize, jobs } = await ada.jobs.getQueue({
    filters: those,
    countTotal: true,
    select: { paths: ['priority'] },
  });
  t.is(totalSize, BigInt(expected.length));
  t.deepEqual(
    jobs.map(({ owner, priority }) => [owner, priority]),
    expected.map(([, priority]) => ['', priority]),
  );
  t.is((await ada.jobs.getQueue({ filters: filters(['state', '=', 'Complete']) })).jobs.length, 0);
});

test('only selected fields are answered', async (t) => {
  const server = await start(t);
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const runtimeConstraints = { minNodes: 2, maxNodes: 5, minRamMbPerNode: 100 };
  const uuid = uuidOf(
    await request(ada, {
      scriptParameters: { a: 1 },
      description: 'd',
      runtimeConstraints,
      components: { x: '6474a05f-fc92-48bb-bbc8-600098820550' },
    }),
  );
  await bob.worker.claimJob({ uuid, offer: { ramMb: 100n } });
  await bob.worker.heartbeat({ uuid, progress: 0.5, tasksSummary: { done: 3, todo: 4 } });
  const consistencyToken = String(await server.end());
  const { job: whole } = await ada.jobs.getJob({ uuid, consistencyToken });
  const select = async (...paths: string[]) => {
    const { jobs } = await ada.jobs.listJobs({ select: { paths }, orderBy: 'priority', consistencyToken });
    const { $typeName: _, ...job } = jobs[0] as Job;
    return job;
  };
  // Who waits and what ran is told of one job alone.
  t.is(whole?.attempts.length, 1);
  t.is(whole?.interests.length, 1);
  t.deepEqual(await select(), { ...withoutType(whole), attempts: [], interests: [] });
  const nothing = await select('output');
  t.is(nothing.uuid, uuid);
  const zero = { owner: '', priority: 0, state: 0, components: {}, nondeterministic: false };
  t.like(nothing, zero);
  for (const absent of ['createdAt', 'progress', 'scriptParameters', 'tasksSummary', 'startedAt'] as const) {
    t.is(nothing[absent], undefined, absent);
  }
  const some = await select(
    'state',
    'script_parameters',
    'tasks_summary.done',
    'runtime_constraints.max_nodes',
    'created_at',
  );
  t.deepEqual([some.state, some.createdAt], [whole?.state, whole?.createdAt]);
  t.deepEqual(some.scriptParameters, { a: 1 });
  t.like(some.tasksSummary, { done: 3, todo: 0 });
  t.is(some.runtimeConstraints?.maxNodes, 5);
  t.is(some.runtimeConstraints?.minNodes, undefined);
  t.is(some.description, '');
  for (const path of ['nope', 'script_parameters.a', 'tasks_summary.nope', 'createdAt', 'uuid.x', '']) {
    const refusal = { code: 'INVALID_ARGUMENT', reason: 'BAD_PATH', field: 'select', naming: `"${path}"` } as const;
    await refused(t, server, () => ada.jobs.listJobs({ select: { paths: [path] } }), refusal);
  }
});

function withoutType(job: Job | undefined) {
  const { $typeName: _, ...rest } = job as Job;
  return rest;
}

test('a list that takes too long is refused with what to narrow, and holds up nothing else', async (t) => {
  const server = await start(t, { list_time_limit: 2 });
  const ada = server.as('ada');
  const description = `${'ab'.repeat(30_000)}z`;
  const uuids = await Promise.all(
    Array.from({ length: 400 }, async (_, i) => uuidOf(await request(ada, { description, scriptParameters: { i } }))),
  );
  const consistencyToken = String(await server.end());
  // All match, so that all are tried: most of a minute of work.
  const slow: Triple = ['any', 'like', `%${'_b'.repeat(400)}z%`];
  const several = Array.from({ length: 40 }, () => slow);
  const asked = { filters: filters(...several), orderBy: 'priority', countTotal: true, consistencyToken };
  let over = false;
  const refusal = failure(t, () => ada.jobs.listJobs(asked)).finally(() => {
    over = true;
  });
  let quick = 0;
  while (!over) {
    const uuid = uuids[quick % uuids.length] ?? '';
    await ada.jobs.getJob({ uuid });
    const { jobs } = await ada.jobs.listJobs({ filters: filters(['uuid', '=', uuid]), select: { paths: ['owner'] } });
    t.is(jobs.length, 1);
    quick++;
  }
  t.true(quick >= 4, `${quick} quick lists meanwhile`);
  const error = await refusal;
  t.is(error.reason, 'LIST_TOO_LONG');
  t.regex(
    error.message,
    /longer than the 2 s .* beside filters\[0\], .* filter = on repository, .* order by created_at alone, or do without count_total/,
  );
  const narrowed: Triple[] = [slow, ['uuid', '=', uuids[0] ?? '']];
  t.is((await ada.jobs.listJobs({ filters: filters(...narrowed), select: { paths: ['owner'] } })).jobs.length, 1);
});

test('a list whose client is gone is given up', async (t) => {
  const server = await start(t, { list_time_limit: 600 });
  const ada = server.as('ada');
  const description = `${'ab'.repeat(30_000)}z`;
  await Promise.all(Array.from({ length: 200 }, (_, i) => request(ada, { description, scriptParameters: { i } })));
  const consistencyToken = String(await server.end());
  const slow: Triple = ['description', 'like', `%${'_b'.repeat(400)}z%`];
  // As many of these as a request may have take most of a minute.
  const call = (several: Triple[], signal: AbortSignal) =>
    ada.jobs.listJobs({ filters: filters(...several), orderBy: 'priority', pageSize: 1, consistencyToken }, { signal });
  const stop = new AbortController();
  const given = failure(t, () =>
    call(
      Array.from({ length: 64 }, () => slow),
      stop.signal,
    ),
  );
  setTimeout(() => stop.abort(), 500);
  await given;
  const began = performance.now();
  t.is((await call([slow], AbortSignal.timeout(30_000))).jobs.length, 1);
  t.log(`the next long list took ${Math.round(performance.now() - began)} ms`);
});
