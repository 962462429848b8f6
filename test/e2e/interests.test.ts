import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampMs, timestampNow } from '@bufbuild/protobuf/wkt';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { rounds } from '../support/rounds.js';
import { complete, find, plenty, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-interests-'));
const policy = join(dir, 'policy.toml');
const grant = (to: string, role: string, repository: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${repository}"]\n`;
const grants = [
  ...['ada', 'bob', 'cleo', 'lora'].map((name) => grant(name, 'submitter', 'project')),
  `${grant('dan', 'submitter', 'project')}max_priority = 3\nmax_cores = 4\nmax_ram_mb = 1000\nmax_scratch_mb = 5\n`,
  grant('w', 'worker', 'project'),
  grant('rita', 'reader', '**'),
  grant('lead', 'admin', 'project'),
  grant('root', 'admin', '**'),
];
const allow = (...all: string[]) => writeFileSync(policy, all.join('\n'));
allow(...grants);
const server = serverOfFile({
  repositories: { project: project.repository.path },
  settings: { policy },
});
const as = (name: string) => server.as(name);
const [ada, bob, cleo, w, rita, root] = ['ada', 'bob', 'cleo', 'w', 'rita', 'root'].map(as) as [
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
];
const lead = as('lead');
test.after.always(() => {
  rmSync(dir, { recursive: true });
});

const own = (name: string) => ({ scriptParameters: { interests: name } });
const types = async (client: typeof ada, uuid: string) =>
  (await collect(client.history.readHistory({ uuid }))).map(({ event }) => event?.eventType);

test('whoever asks for the same joins, and who no longer wants it leaves; the last one cancels it', async (t) => {
  const uuid = uuidOf(await find(ada, own('join')));
  const joined = await find(bob, { priority: 7, ...own('join') });
  t.is(uuidOf(joined), uuid);
  t.true(joined.reused);
  t.like(joined.job, { interestCount: 2, priority: 7 });
  // Asked for again it is wanted already, and the stream does not grow.
  await find(bob, { priority: 3, ...own('join') });
  t.deepEqual(await types(root, uuid), ['JobRequested', 'JobJoined', 'JobReused']);
  const left = await ada.jobs.cancelJob({ uuid });
  t.like(left, { remaining: 1, cancelledUuids: [] });
  t.is(left.withdrawnInterests.length, 1);
  t.is(left.job?.state, JobState.QUEUED);
  t.like(await ada.jobs.cancelJob({ uuid }), { remaining: 1, withdrawnInterests: [] });
  const last = await bob.jobs.cancelJob({ uuid });
  t.like(last, { remaining: 0, cancelledUuids: [uuid] });
  t.is(last.job?.state, JobState.CANCELLED);
  t.deepEqual((await types(root, uuid)).slice(3), ['JobLeft', 'JobLeft', 'JobCancelled']);
});

test('who waits is told to itself and to admins, and to others how many; histories hide who', async (t) => {
  const uuid = uuidOf(await find(ada, own('who')));
  await find(bob, { submitId: 'mine', priority: 2, ...own('who') });
  const { consistencyToken: joined } = await find(cleo, own('who'));
  const seen = async (client: typeof ada) => {
    const { job } = await client.jobs.getJob({ uuid, consistencyToken: joined });
    return [job?.interestCount, ...(job?.interests ?? []).map(({ principal }) => principal)];
  };
  t.deepEqual(await seen(bob), [3, 'bob']);
  t.deepEqual(await seen(rita), [3]);
  t.deepEqual(await seen(root), [3, 'ada', 'bob', 'cleo']);
  const [waiting] = (await bob.jobs.getJob({ uuid })).job?.interests ?? [];
  t.like(waiting, { id: 'mine', priority: 2 });
  await bob.jobs.cancelJob({ uuid, interest: 'mine' });
  await find(bob, own('who'));
  for (const client of [rita, ada, cleo]) {
    const text = JSON.stringify(await collect(client.history.readHistory({ uuid })), (_, value) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    t.notRegex(text, /bob|mine/);
  }
  t.regex(
    JSON.stringify((await collect(root.history.readHistory({ uuid }))).map(({ event }) => event?.metadata)),
    /bob/,
  );
  const position = (await root.jobs.getJob({ uuid })).job?.createdAt;
  const then = await root.jobs.getJob({
    uuid,
    asOf: { moment: { case: 'position', value: BigInt(await server.end()) } },
  });
  t.deepEqual(
    then.job?.interests.map(({ principal }) => principal),
    ['ada', 'cleo', 'bob'],
  );
  t.deepEqual(then.job?.waitingSince, position);
  const { consistencyToken } = await root.jobs.cancelJob({ uuid, forEveryone: true });
  t.is((await rita.jobs.getJob({ uuid, consistencyToken })).job?.interestCount, 0);
});

test('who asks for more than its grants allow is refused by value and bound, however it asks', async (t) => {
  const dan = server.as('dan');
  const uuid = uuidOf(await find(ada, { priority: 9, runtimeConstraints: { minCoresPerNode: 9 }, ...own('bounds') }));
  const failed = uuidOf(await find(ada, { priority: 9, ...own('bounds failed') }));
  await ada.jobs.cancelJob({ uuid: failed });
  const over = { code: 'PERMISSION_DENIED', reason: 'OVER_BOUND' } as const;
  const atMost = (field: string, value: number, bound: number) => ({
    ...over,
    naming: `${field} ${value} is more than ${bound}, the most that "dan" may ask for in jobs of repository "project"`,
  });
  for (const asked of [own('bounds'), own('bounds of its own')]) {
    const of = (more: object) => () => find(dan, { ...asked, ...more });
    await refused(t, server, of({ priority: 4 }), atMost('priority', 4, 3));
    for (const [name, field, most] of [
      ['minCoresPerNode', 'min_cores_per_node', 4],
      ['minRamMbPerNode', 'min_ram_mb_per_node', 1_000],
      ['minScratchMbPerNode', 'min_scratch_mb_per_node', 5],
    ] as const) {
      const constraints = { runtimeConstraints: { [name]: 1_000_000 } };
      await refused(t, server, of(constraints), atMost(`runtime_constraints.${field}`, 1_000_000, most));
    }
  }
  await refused(t, server, () => dan.jobs.retryJob({ uuid: failed }), atMost('priority', 9, 3));
  const work = { repository: 'project', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
  const { results } = await dan.jobs.createJobs({
    requests: [4, 3].map((priority) => ({ ...work, priority, ...own('bounds') })),
  });
  t.like(results[0]?.error, { code: 7, reason: 'OVER_BOUND', field: 'priority' });
  t.is(results[1]?.job?.uuid, uuid);
  const set = (priority: number) =>
    dan.jobs.updateJob({ job: { uuid, priority }, updateMask: { paths: ['priority'] } });
  await refused(t, server, () => set(4), atMost('priority', 4, 3));
  const many = await dan.jobs.updateJobs({
    selection: { uuids: [uuid] },
    job: { priority: 4 },
    updateMask: { paths: ['priority'] },
  });
  t.like(many.outcomes[0]?.error, { reason: 'OVER_BOUND' });
  await refused(
    t,
    server,
    () => rita.jobs.updateJob({ job: { uuid, priority: 1 }, updateMask: { paths: ['priority'] } }),
    {
      code: 'PERMISSION_DENIED',
      reason: 'NOT_PERMITTED',
    },
  );
  t.is((await set(-4)).job?.priority, 9);
  const { job } = await dan.jobs.retryJob({ uuid: failed, priority: 3 });
  await root.jobs.cancelJobs({ selection: { uuids: [uuid, job?.uuid ?? ''] }, forEveryone: true });
});

test('a job is cancelled for everyone by admins, and by its owner while nobody else joined', async (t) => {
  const uuid = uuidOf(await find(ada, own('everyone')));
  await find(bob, own('everyone'));
  const before = await types(root, uuid);
  for (const client of [ada, bob]) {
    const error = await failure(t, () => client.jobs.cancelJob({ uuid, forEveryone: true }));
    t.like(error, { code: 7, reason: 'NOT_PERMITTED' });
  }
  const shared = await failure(t, () => root.jobs.cancelJob({ uuid }));
  t.like(shared, { reason: 'WANTED_BY_OTHERS' });
  t.like(await failure(t, () => cleo.jobs.cancelJob({ uuid })), { code: 7 });
  t.like(await failure(t, () => bob.jobs.cancelJob({ uuid, interest: 'no' })), { reason: 'NO_INTEREST' });
  t.like(await failure(t, () => bob.jobs.cancelJob({ uuid, interest: 'no', allMine: true })), {
    reason: 'CONFLICTING_FIELDS',
  });
  t.deepEqual(await types(root, uuid), before);
  t.deepEqual((await root.jobs.cancelJob({ uuid, forEveryone: true })).cancelledUuids, [uuid]);
  const alone = uuidOf(await find(ada, own('alone')));
  t.deepEqual((await ada.jobs.cancelJob({ uuid: alone, forEveryone: true })).cancelledUuids, [alone]);
});

test('a priority is that of the interest of who sets it, and of the whole job for admins alone', async (t) => {
  const uuid = uuidOf(await find(ada, { priority: 1, ...own('priority') }));
  await find(bob, { priority: 5, ...own('priority') });
  const set = (client: typeof ada, priority: number, forEveryone = false) =>
    client.jobs.updateJob({ job: { uuid, priority }, updateMask: { paths: ['priority'] }, forEveryone });
  t.is((await set(bob, 3)).job?.priority, 3);
  t.is((await set(ada, 2)).job?.priority, 3);
  t.is((await set(bob, -1)).job?.priority, 2);
  t.like(await failure(t, () => set(bob, 9, true)), { code: 7 });
  t.like(await failure(t, () => set(rita, 9)), { code: 7 });
  t.like(await failure(t, () => bob.jobs.updateJob({ job: { uuid }, updateMask: { paths: ['description'] } })), {
    code: 7,
  });
  t.is((await set(root, 9)).job?.priority, 9);
  const end = String(await server.end());
  t.is((await rita.jobs.getJob({ uuid, consistencyToken: end })).job?.priority, 9);
  await root.jobs.cancelJob({ uuid, forEveryone: true });
});

test('a join tells nothing of what may not be read, and who may no longer read can still withdraw', async (t) => {
  const lora = server.as('lora');
  const uuid = uuidOf(await find(ada, own('lost')));
  await find(lora, { submitId: 'late', ...own('lost') });
  allow(...grants.filter((one) => !one.includes('"lora"')));
  const mayRead = () =>
    lora.jobs.getJob({ uuid }).then(
      () => true,
      () => false,
    );
  await until('the policy', async () => !(await mayRead()));
  t.like(await failure(t, () => lora.jobs.getJob({ uuid })), { code: 5 });
  const stranger = server.as('stranger');
  t.like(await failure(t, () => stranger.jobs.cancelJob({ uuid })), { code: 5, reason: 'JOB_NOT_FOUND' });
  t.like(await lora.jobs.cancelJob({ uuid }), { remaining: 1 });
  t.like(await lora.jobs.cancelJob({ uuid, interest: 'late' }), { remaining: 1 });
  await ada.jobs.cancelJob({ uuid });
});

test('a job that others were answered with is deleted by admins alone', async (t) => {
  const uuid = uuidOf(await find(ada, own('delete')));
  await complete(w, uuid);
  await find(bob, own('delete'));
  t.like(await failure(t, () => ada.jobs.deleteJob({ uuid })), { code: 7, reason: 'NOT_PERMITTED' });
  await root.jobs.deleteJob({ uuid });
  const alone = uuidOf(await find(ada, own('delete alone')));
  await complete(w, alone);
  await ada.jobs.deleteJob({ uuid: alone });
  t.pass();
});

test('a submit_id that joined is answered with the same job again, and recorded once', async (t) => {
  const uuid = uuidOf(await find(ada, own('again')));
  const asked = { submitId: 'again', ...own('again') };
  t.is(uuidOf(await find(bob, asked)), uuid);
  t.is(uuidOf(await find(bob, asked)), uuid);
  t.deepEqual(await types(root, uuid), ['JobRequested', 'JobJoined']);
  await complete(w, uuid);
  t.is(uuidOf(await find(bob, asked)), uuid);
  const other = await failure(t, () => find(bob, { ...asked, priority: 1 }));
  t.is(other.reason, 'SUBMIT_ID_USED');
});

test('lists find what a principal requested, joined or was answered with, by the labels of its requests, for itself and admins', async (t) => {
  const label = (team: string, more: object = {}) => ({ labels: { team, of: 'lists', ...more } });
  const uuids = {
    own: uuidOf(
      await find(bob, {
        ...own('lists own'),
        ...label('x'),
        limits: { run: { seconds: 3_600n }, queued: { seconds: 7_200n } },
        retry: { lost: 7, minBackoff: { nanos: 500_000_000 } },
      }),
    ),
    joined: uuidOf(await find(ada, { ...own('lists joined'), ...label('a') })),
    reused: uuidOf(await find(ada, { ...own('lists reused'), ...label('a') })),
    other: uuidOf(await find(ada, { ...own('lists other'), ...label('x') })),
  };
  await complete(w, uuids.reused);
  await find(bob, { ...own('lists joined'), ...label('x', { run: '1' }) });
  await find(bob, { ...own('lists joined'), submitId: 'second', ...label('y', { run: '2' }) });
  await find(bob, { ...own('lists reused'), ...label('x') });
  await find(bob, { ...own('lists reused'), ...label('x') });
  const consistencyToken = String(await server.end());
  const names = new Map(Object.entries(uuids).map(([name, uuid]) => [uuid, name]));
  const listed = async (
    client: typeof ada,
    who: string | string[],
    more: Parameters<typeof filterFromTriple>[0][] = [],
    rest = {},
  ) => {
    const whose = Array.isArray(who) ? ['requested_by', 'in', who] : ['requested_by', '=', who];
    const filters = [whose, ['labels.of', '=', 'lists'], ...more].map((triple) => filterFromTriple(triple));
    const { jobs, totalSize } = await client.jobs.listJobs({ filters, consistencyToken, countTotal: true, ...rest });
    t.is(Number(totalSize), jobs.length);
    return jobs.map(({ uuid }) => names.get(uuid)).join(' ');
  };
  const team = (value: string, operator = '=') => ['labels.team', operator, value];
  const bobs = 'reused joined own';
  t.is(await listed(bob, 'bob'), bobs);
  t.is(await listed(bob, 'bob', [], { orderBy: 'created_at' }), 'own joined reused');
  t.is(await listed(bob, 'bob', [], { orderBy: 'run_number, created_at desc' }), bobs);
  t.is(await listed(bob, 'bob', [team('x')]), bobs);
  t.is(await listed(bob, 'bob', [team('y')]), 'joined');
  // Those of the job are looked at too, but not mixed with those of a request, nor with those of others.
  t.is(await listed(bob, 'bob', [team('a')]), 'reused joined');
  t.is(await listed(bob, 'bob', [team('x'), ['labels.run', '=', '1']]), 'joined');
  t.is(await listed(bob, 'bob', [team('y'), ['labels.run', '=', '1']]), '');
  t.is(await listed(ada, 'ada', [team('y')]), '');
  t.is(await listed(bob, 'bob', [['state', '=', 'Complete']]), 'reused');
  t.is(await listed(bob, 'bob', [['uuid', '=', uuids.joined]]), 'joined');
  // So are its limits and how often it is run again, by their parts.
  const parts = [
    ['limits.run', '=', 3600],
    ['retry.lost', '>', 6],
    ['retry.min_backoff', 'in', [0.5, 1]],
  ];
  t.is(await listed(bob, 'bob', parts), 'own');
  t.is(await listed(bob, 'bob', [['limits.run', '<', 3600]]), '');
  t.is(await listed(bob, 'bob', [['limits', 'exists', false]]), 'reused joined');
  const { jobs: selected } = await bob.jobs.listJobs({
    filters: [filterFromTriple(['uuid', '=', uuids.own])],
    select: { paths: ['limits.run', 'retry.lost'] },
  });
  t.like(selected[0], {
    limits: { run: { seconds: 3_600n }, queued: undefined },
    retry: { lost: 7, minBackoff: undefined },
  });
  // Who was answered is told to oneself and to who administers the repository.
  t.is(await listed(root, 'bob'), bobs);
  t.is(await listed(root, ['ada', 'bob'], [team('x')]), 'other reused joined own');
  for (const client of [ada, rita, cleo]) {
    t.is(await listed(client, 'bob'), '');
    t.is(await listed(client, 'bob', [team('y')]), '');
  }
  t.is(await listed(ada, ['ada', 'bob']), 'other reused joined');
  t.is(await listed(lead, 'bob'), bobs);
  t.is(await listed(lead, ['lead', 'bob'], [team('y')]), 'joined');
  // As of a moment, those that had asked by then.
  const asOf = (position: bigint) => ({ asOf: { moment: { case: 'position' as const, value: position } } });
  t.is(await listed(bob, 'bob', [team('y')], asOf(BigInt(await server.end()))), 'joined');
  const events = await collect(root.history.readHistory({ uuid: uuids.joined }));
  const joined = events.find(({ event }) => event?.eventType === 'JobJoined')?.event?.position ?? 0n;
  t.is(await listed(bob, 'bob', [team('y')], asOf(joined)), '');
  t.is(await listed(bob, 'bob', [team('x')], asOf(joined)), 'joined own');
  t.is(await listed(bob, 'bob', [], asOf(joined - 1n)), 'own');
  const page = { filters: [filterFromTriple(['requested_by', 'in', ['bob']])], pageSize: 1 };
  const { nextPageToken } = await bob.jobs.listJobs(page);
  t.is((await bob.jobs.listJobs({ ...page, pageToken: nextPageToken })).jobs.length, 1);
  for (const [triple, message] of [
    [['requested_by', '!=', 'bob'], /operator "!=" is not for "requested_by", which takes =, in/],
    [['requested_by', '=', null], /null is not the name of a principal/],
    [['requested_by', 'in', 'bob'], /"bob" is no list/],
    [['requested_by', 'in', Array(101).fill('b')], /is a list of 101, and 100 is the limit/],
  ] as const) {
    await t.throwsAsync(bob.jobs.listJobs({ filters: [filterFromTriple(triple)] }), { message });
  }
  const two = ['a', 'b'].map((who) => filterFromTriple(['requested_by', '=', who]));
  await t.throwsAsync(bob.jobs.listJobs({ filters: two }), { message: /is in filters\[0\] already/ });
  await t.throwsAsync(find(bob, { filters: [...two.slice(1)] }), { message: /is for lists of jobs/ });
  await root.jobs.cancelJobs({ selection: { uuids: [uuids.own, uuids.joined, uuids.other] }, forEveryone: true });
});

test('nobody finds by filters what is not told: who cancelled a job', async (t) => {
  const uuid = uuidOf(await find(ada, own('secret')));
  await root.jobs.cancelJob({ uuid, forEveryone: true });
  const again = (await ada.jobs.retryJob({ uuid })).job?.uuid ?? '';
  await ada.jobs.cancelJob({ uuid: again });
  const consistencyToken = String(await server.end());
  const matching = async (client: typeof ada, ...triple: Parameters<typeof filterFromTriple>[0] & unknown[]) => {
    const filters = [filterFromTriple(['uuid', 'in', [uuid, again]]), filterFromTriple(triple)];
    const { jobs } = await client.jobs.listJobs({ filters, consistencyToken, orderBy: 'created_at' });
    return jobs.map((job) => (job.uuid === uuid ? 'first' : 'again')).join(' ');
  };
  for (const client of [root, lead]) {
    t.is(await matching(client, 'cancelled_by', '=', 'root'), 'first');
    t.is(await matching(client, 'cancelled_by', '!=', 'root'), 'again');
    t.is(await matching(client, 'any', 'contains', 'root'), 'first');
  }
  for (const client of [ada, rita]) {
    t.is(await matching(client, 'cancelled_by', '=', 'root'), '');
    t.is(await matching(client, 'cancelled_by', '!=', 'root'), 'first again');
    t.is(await matching(client, 'cancelled_by', 'like', 'r%'), '');
    t.is(await matching(client, 'any', 'contains', 'root'), '');
    t.is(await matching(client, 'cancelled_by', '=', 'ada'), 'again');
    t.is(await matching(client, 'cancelled_by', '=', null), 'first');
    t.is(await matching(client, 'cancelled_by', 'exists', true), 'again');
    t.is(await matching(client, 'retry_of', '=', uuid), 'again');
    const ordered = client.jobs.listJobs({ orderBy: 'cancelled_by' });
    await t.throwsAsync(ordered, { message: /may not order jobs by cancelled_by/ });
  }
  await t.notThrowsAsync(root.jobs.listJobs({ orderBy: 'cancelled_by, retry_of' }));
  // Nor by what a decision says of the filters of a request.
  const judged = async (client: typeof ada, ...triple: Parameters<typeof filterFromTriple>[0] & unknown[]) => {
    const triples = [['repository', '=', 'project'], ['script', '=', 'run.sh'], triple] as const;
    const request = { repository: 'project', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
    const filters = triples.map((one) => filterFromTriple(one as Parameters<typeof filterFromTriple>[0]));
    const { decision } = await client.jobs.explainReuse({ request: { ...request, ...own('secret'), filters } });
    return decision?.candidates.find((one) => one.uuid === uuid);
  };
  t.like(await judged(lead, 'cancelled_by', '!=', 'root'), { ruledOutBy: Rule.FILTER });
  t.regex((await judged(root, 'cancelled_by', '=', 'x'))?.detail ?? '', /its value is "root"/);
  t.like(await judged(root, 'any', 'like', '%root%'), { ruledOutBy: Rule.STATE });
  for (const client of [ada, bob]) {
    t.like(await judged(client, 'cancelled_by', '=', 'root'), { ruledOutBy: Rule.FILTER });
    t.regex((await judged(client, 'cancelled_by', '=', 'root'))?.detail ?? '', /it has none/);
    t.like(await judged(client, 'cancelled_by', '!=', 'root'), { ruledOutBy: Rule.STATE });
    t.like(await judged(client, 'any', 'like', '%root%'), { ruledOutBy: Rule.FILTER });
  }
});

test('who watches a job is told of what changes in it, not of who else waits', async (t) => {
  const uuid = uuidOf(await find(ada, { priority: 1, ...own('watch') }));
  const told: string[] = [];
  const watching = (async () => {
    for await (const { eventType, job } of rita.jobs.watchJob({ uuid })) told.push(`${eventType} ${job?.priority}`);
  })();
  await until('the watch', () => told.length === 1);
  await find(bob, own('watch'));
  await find(cleo, { priority: 4, ...own('watch') });
  await bob.jobs.cancelJob({ uuid });
  await root.jobs.cancelJob({ uuid, forEveryone: true });
  await watching;
  t.deepEqual(told, [' 1', 'JobJoined 4', 'JobCancelled 4']);
});

/** Two jobs that one worker runs, ada's and bob's, with a component that it requested: before it claimed the second if `late`. */
async function parents(name: string, late = false) {
  const [first, second] = [uuidOf(await find(ada, own(`${name} 1`))), uuidOf(await find(bob, own(`${name} 2`)))];
  const claim = (uuid: string) => root.worker.claimJob({ uuid, offer: plenty });
  await claim(first);
  if (!late) await claim(second);
  const child = uuidOf(await find(root, own(`${name} child`)));
  const update = async (client: typeof ada, uuid: string) =>
    client.jobs.updateJob({ job: { uuid, components: { child } }, updateMask: { paths: ['components'] } });
  await update(ada, first);
  if (late) {
    // It cannot have begun at the same millisecond.
    const { job } = await root.jobs.getJob({ uuid: child });
    await until('the next millisecond', () => Date.now() > timestampMs(job?.createdAt ?? timestampNow()));
    await claim(second);
  }
  await update(bob, second);
  const wanted = async () =>
    (await root.jobs.getJob({ uuid: child, consistencyToken: String(await server.end()) })).job;
  return { first, second, child, wanted };
}

test('a cascade spares what another job of the same worker needs, and the later of two takes it', async (t) => {
  for (const late of [false, true]) {
    const { first, second, child, wanted } = await parents(`shared ${late}`, late);
    t.deepEqual((await ada.jobs.cancelJob({ uuid: first, cascade: true })).cancelledUuids, [first]);
    t.like(await wanted(), { state: JobState.QUEUED, interestCount: 1 });
    const { cancelledUuids } = await bob.jobs.cancelJob({ uuid: second, cascade: true });
    t.deepEqual(cancelledUuids, [second, child], late ? 'claimed later' : 'claimed before');
  }
  for (let round = 0; round < rounds(3, 5); round++) {
    const { first, second, child, wanted } = await parents(`shared at once ${round}`);
    const both = [
      ada.jobs.cancelJob({ uuid: first, cascade: true }),
      bob.jobs.cancelJob({ uuid: second, cascade: true }),
    ];
    const told = (await Promise.all(both)).flatMap(({ cancelledUuids }) => cancelledUuids);
    t.deepEqual(told.toSorted(), [first, second, child].toSorted(), 'exactly one of them takes it');
    t.is((await wanted())?.state, JobState.CANCELLED);
  }
});

test('a cascade of the last to leave takes from the owner of a job what that gave up, and nothing else', async (t) => {
  for (const cascade of [false, true]) {
    const { first, child, wanted } = await parents(`owner ${cascade}`);
    await find(bob, own(`owner ${cascade} 1`));
    await find(ada, own(`owner ${cascade} child`));
    t.like(await wanted(), { interestCount: 2 });
    t.like(await ada.jobs.cancelJob({ uuid: first, cascade }), { cancelledUuids: [], remaining: 1 });
    // Bob's other job, which the same worker runs, needs the component no more.
    await bob.jobs.cancelJob({ uuid: uuidOf(await find(bob, own(`owner ${cascade} 2`))) });
    const { cancelledUuids } = await bob.jobs.cancelJob({ uuid: first, cascade: true });
    t.deepEqual(cancelledUuids, cascade ? [first, child] : [first]);
    t.like(await wanted(), cascade ? { state: JobState.CANCELLED } : { state: JobState.QUEUED, interestCount: 1 });
  }
});

test('whatever happens to a job at the same moment, whoever is answered with it waits for it', async (t) => {
  for (let round = 0; round < rounds(3); round++) {
    const asked = own(`race ${round}`);
    const uuid = uuidOf(await find(ada, asked));
    const claimed = round % 3 === 1 ? await w.worker.claimJob({ uuid }) : undefined;
    const happens = [
      () => ada.jobs.cancelJob({ uuid }),
      () => w.worker.completeJob({ uuid, output: 'o', log: 'l', ...(claimed && { claimToken: claimed.claimToken }) }),
      () => w.worker.claimJob({ uuid }),
    ];
    const callers = Array.from({ length: 20 }, (_, i) => [bob, cleo, ada][i % 3] as typeof ada);
    const [answers] = await Promise.all([
      Promise.all(callers.map((client, i) => find(client, i % 2 ? { submitId: `${round}-${i}`, ...asked } : asked))),
      happens[round % 3]?.(),
    ]);
    // Each of them was told it the first time.
    t.false(answers.some(({ decision }) => decision?.outcome === Outcome.RETRIED));
    const uuids = new Set(answers.map(uuidOf));
    t.true(uuids.size <= 2, `round ${round}: ${[...uuids]}`);
    for (const one of uuids) {
      // Who reads has written none of it, and sees all that was answered by the last of the answers.
      const [first, ...more] = answers.filter((answer) => uuidOf(answer) === one);
      for (const { consistencyToken } of more) await root.jobs.getJob({ uuid: one, consistencyToken });
      const { job } = await root.jobs.getJob({ uuid: one, consistencyToken: first?.consistencyToken ?? '' });
      const waiting = job?.interests.map(({ principal }) => principal) ?? [];
      const answered = callers.filter((_, n) => uuidOf(answers[n] as (typeof answers)[number]) === one);
      const others = [bob, cleo].filter((client) => answered.includes(client));
      // Ada may have withdrawn what she wanted; nobody else did.
      if (job?.state === JobState.CANCELLED) t.deepEqual(others, [], `round ${round}`);
      else if (job?.state !== JobState.COMPLETE) {
        for (const client of others) t.true(waiting.includes(client === bob ? 'bob' : 'cleo'), `round ${round}`);
      }
      await root.jobs.cancelJob({ uuid: one, forEveryone: true }).catch(() => undefined);
    }
  }
});
