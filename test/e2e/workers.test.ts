import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { systemEdge } from '../../src/edge.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { refused } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-workers-'));
const policy = join(directory, 'policy.toml');
const grant = (to: string, role: string, repositories: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${repositories}"]\n`;
writeFileSync(
  policy,
  grant('root', 'admin', '**') +
    grant('ada', 'submitter', '**') +
    grant('bob', 'worker', '**') +
    grant('carl', 'worker', 'open') +
    grant('lead', 'admin', 'open') +
    grant('eve', 'reader', 'open'),
);
const project = makeProject();
const { path } = project.repository;
let ahead = 0;
const server = serverOfFile({
  repositories: { open: path, hidden: path },
  settings: { policy },
  edge: { ...systemEdge, now: () => Date.now() + ahead },
});
test.after.always(() => {
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});
const [root, ada, bob] = [server.as('root'), server.as('ada'), server.as('bob')];
const seconds = (count: number) => ({ seconds: BigInt(count) });

let n = 0;
const made = async (repository: string) => uuidOf(await request(ada, { repository, scriptParameters: { n: n++ } }));
/** How often workers of bob were recorded as seen. */
const seen = async () =>
  (await collect(root.history.readHistory({ principal: 'bob' }))).filter(
    ({ event }) => event?.event.case === 'workerSeen',
  ).length;
const told = async (clients = root) => (await clients.workers.listWorkers({})).workers;
/** A worker of bob's claims, and waits for nothing. */
const claim = (workerName: string, more: Parameters<typeof bob.worker.claimJob>[0] = {}) =>
  bob.worker.claimJob({ workerName, host: 'cellar', version: '1.2', ...more });

test.serial('workers are told of with what they are, have and run, to whoever may know', async (t) => {
  const uuid = await made('hidden');
  const offer = { cores: 4, ramMb: 100n, labels: { gpu: 'a100' } };
  t.is((await claim('w1', { offer, total: { ...offer, cores: 8 } })).job?.uuid, uuid);
  await server.as('carl').worker.claimJob({ workerName: 'w2', repositories: ['open', 'hidden'] });
  await bob.worker.claimJob({});
  await until('the workers are told', async () => (await told()).length === 2);
  const workers = await told();
  const first = workers.find(({ workerName }) => workerName === 'w1');
  t.like(first, { principal: 'bob', host: 'cellar', version: '1.2', drained: false, drainedBy: '' });
  t.like(first?.offer, { cores: 8, ramMb: 100n, labels: { gpu: 'a100' } });
  t.deepEqual(
    first?.running.map((job) => [job.uuid, job.repository]),
    [[uuid, 'hidden']],
  );
  t.true((first?.seenAt?.seconds ?? 0n) > 0n);
  t.like(
    workers.find(({ workerName }) => workerName === 'w2'),
    { principal: 'carl', repositories: ['open', 'hidden'] },
  );
  // Of bob's nothing is told to eve; of carl's, which names what she knows, no more than that.
  const [only, ...others] = await told(server.as('eve'));
  t.deepEqual(others, []);
  t.like(only, { principal: 'carl', repositories: ['open'], running: [] });
  t.deepEqual(
    (await told(server.as('carl'))).map(({ principal }) => principal),
    ['carl'],
  );
  // The events are for who may read all.
  t.is(await seen(), 1);
  t.deepEqual(
    (await collect(server.as('eve').history.readHistory({ principal: 'bob' }))).filter(
      ({ event }) => event?.event.case === 'workerSeen',
    ),
    [],
  );
  const page = await root.workers.listWorkers({ pageSize: 1 });
  const rest = await root.workers.listWorkers({ pageSize: 1, pageToken: page.nextPageToken });
  t.deepEqual([...page.workers, ...rest.workers].map(({ workerName }) => workerName).sort(), ['w1', 'w2']);
  t.is(rest.nextPageToken, '');
});

test.serial('that a worker is there is recorded when what it says changed, else at most every 5 minutes', async (t) => {
  const before = await seen();
  const after = async (count: number) => {
    await until('the workers are told', async () => (await seen()) >= before + count);
    t.is(await seen(), before + count);
  };
  await claim('steady', { offer: { cores: 1 }, total: { cores: 2 } });
  await after(1);
  for (let i = 0; i < 3; i++) await claim('steady', { offer: { cores: i }, total: { cores: 2 } });
  ahead += 4 * 60_000;
  await claim('steady', { total: { cores: 2 } });
  // Whatever is recorded of another comes behind what would be of this.
  await claim('other');
  await after(2);
  await claim('steady', { total: { cores: 3 } });
  await after(3);
  // What changes with each claim does not fill the log.
  for (let i = 0; i < 5; i++) await claim('steady', { total: { cores: 4 + i } });
  ahead += 5 * 60_000;
  await claim('steady', { total: { cores: 3 } });
  await after(4);
  t.is((await told()).find(({ workerName }) => workerName === 'steady')?.offer?.cores, 3);
});

test.serial('a drained worker finishes and is given no more, until it is undrained', async (t) => {
  const running = await made('hidden');
  const { claimToken } = await claim('d1');
  const id = { principal: 'bob', workerName: 'd1' };
  const denied = { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED', naming: '"lead"' } as const;
  await until('the workers are told', async () => (await told()).some(({ workerName }) => workerName === 'd1'));
  await refused(t, server, () => server.as('lead').workers.drainWorker(id), denied);
  await refused(t, server, () => root.workers.drainWorker({ ...id, workerName: 'd9' }), {
    code: 'NOT_FOUND',
    reason: 'UNKNOWN_WORKER',
    naming: '"d9"',
  });
  const { worker } = await root.workers.drainWorker({ ...id, reason: 'new disks' });
  t.like(worker, { drained: true, drainedBy: 'root', drainReason: 'new disks' });
  const end = await server.end();
  t.deepEqual((await root.workers.drainWorker({ ...id, reason: 'again' })).worker, worker);
  t.is(await server.end(), end);
  const next = await made('hidden');
  t.like(await claim('d1'), { job: undefined, drained: true });
  const drained = { code: 'FAILED_PRECONDITION', reason: 'WORKER_DRAINED', naming: '"d1"' } as const;
  await refused(t, server, () => claim('d1', { uuid: next }), drained);
  await bob.worker.completeJob({ uuid: running, output: 'o', log: 'l', claimToken });
  const waiting = claim('d1', { wait: seconds(60) });
  t.like(await claim('d2', { wait: seconds(60) }), { job: { uuid: next }, drained: false });
  const last = await made('hidden');
  t.false((await root.workers.undrainWorker(id)).worker?.drained);
  t.is((await waiting).job?.uuid, last);
});

test.serial('jobs of a paused part of the queue are given to nobody, until it is resumed', async (t) => {
  const lead = server.as('lead');
  for (const [repositories, who, reason] of [
    ['**', lead, 'NOT_PERMITTED'],
    ['ope?', lead, 'NOT_PERMITTED'],
    ['hidden', lead, 'NOT_PERMITTED'],
    ['open', ada, 'NOT_PERMITTED'],
  ] as const) {
    const denied = { code: 'PERMISSION_DENIED', reason, naming: `"${repositories}"` } as const;
    await refused(t, server, () => who.workers.pauseQueue({ repositories }), denied);
  }
  const bad = { code: 'INVALID_ARGUMENT', field: 'repositories' } as const;
  await refused(t, server, () => root.workers.pauseQueue({ repositories: 'a b' }), { ...bad, reason: 'BAD_GLOB' });
  await refused(t, server, () => root.workers.pauseQueue({}), { ...bad, reason: 'REQUIRED' });
  await refused(t, server, () => root.workers.resumeQueue({ repositories: 'open' }), {
    code: 'NOT_FOUND',
    reason: 'UNKNOWN_PAUSE',
  });
  const { pause } = await lead.workers.pauseQueue({ repositories: 'open', reason: 'bad data' });
  t.like(pause, { repositories: 'open', reason: 'bad data', pausedBy: 'lead' });
  await root.workers.pauseQueue({ repositories: 'h*' });
  const uuid = await made('open');
  t.is((await claim('p1')).job, undefined);
  await until('the worker is seen', async () => (await told()).some(({ workerName }) => workerName === 'p1'));
  await refused(t, server, () => claim('p1', { uuid }), {
    code: 'FAILED_PRECONDITION',
    reason: 'QUEUE_PAUSED',
    naming: '"open"',
  });
  t.deepEqual(
    (await server.as('eve').workers.listPauses({})).pauses.map(({ repositories }) => repositories),
    ['open'],
  );
  t.is((await root.workers.listPauses({})).pauses.length, 2);
  const waiting = claim('p1', { wait: seconds(60) });
  await root.workers.resumeQueue({ repositories: 'h*' });
  await lead.workers.resumeQueue({ repositories: 'open' });
  t.is((await waiting).job?.uuid, uuid);
  t.deepEqual((await root.workers.listPauses({})).pauses, []);
});

test.serial('a queued job that no worker seen lately could run says what none offers', async (t) => {
  await claim('big', { total: { cores: 32 }, offer: { cores: 32 } });
  const { job } = await request(ada, {
    repository: 'hidden',
    scriptParameters: { n: n++ },
    runtimeConstraints: { minCoresPerNode: 64 },
  });
  const uuid = job?.uuid ?? '';
  const waits = async () => (await ada.jobs.getJob({ uuid })).waitingFor;
  await until('the worker is seen', async () => (await waits()) === 'no worker offers 64 cores');
  t.deepEqual((await ada.jobs.getQueue({})).waitingFor, { [uuid]: 'no worker offers 64 cores' });
  await claim('bigger', { total: { cores: 64 }, offer: { cores: 0 } });
  await until('the other worker is seen', async () => (await waits()) === '');
  t.deepEqual((await ada.jobs.getQueue({})).waitingFor, {});
  // Nobody's wish makes it wait for what there is not, but for what there is.
  const wish = (more: object, runtimeConstraints: object) =>
    find(ada, { repository: 'hidden', scriptParameters: { n: n - 1 }, runtimeConstraints, ...more });
  const wide = await wish({ submitId: 'wide' }, { minCoresPerNode: 1_000_000 });
  t.like(wide, { reused: true, job: { uuid, interestCount: 2, minima: { cores: 64 } } });
  t.regex(
    wide.decision?.summary ?? '',
    /it is not made to ask for more of the place where it runs, since no worker offers 1000000 cores$/,
  );
  const joined = (await collect(root.history.readHistory({ uuid }))).at(-1)?.event?.event;
  t.like(joined, { case: 'jobJoined', value: { minima: { cores: 1_000_000 }, resultingMinima: undefined } });
  t.is((await ada.jobs.getJob({ uuid })).waitingFor, '');
  // Who polls without a name for it is told so too, and joins once.
  for (let i = 0; i < 3; i++) {
    const polled = await find(ada, {
      repository: 'hidden',
      scriptParameters: { n: n - 1 },
      runtimeConstraints: { minCoresPerNode: 999 },
    });
    t.like(polled.job, { uuid, interestCount: 3, minima: { cores: 64 } });
    t.regex(polled.decision?.summary ?? '', /no worker offers 999 cores$/);
  }
  const { job: more } = await request(ada, { repository: 'hidden', scriptParameters: { n: n++ } });
  const raised = await wish({ submitId: 'more' }, { minCoresPerNode: 33 });
  t.like(raised.job, { uuid: more?.uuid, minima: { cores: 33 } });
  ahead += 16 * 60_000;
  await until('the workers are gone', async () => (await waits()).startsWith('no worker that names itself'));
});
