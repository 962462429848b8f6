import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { newestFormat } from '../../src/domain/log-format.js';
import { systemEdge } from '../../src/edge.js';
import { openLog } from '../../src/eventstore/open-store.js';
import { collect } from '../contract/events.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-fairness-'));
const policy = join(dir, 'policy.toml');
const grant = (to: string, role: string, repository: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${repository}"]\n`;
/** The policy, by which so many jobs of dora may run, and of each small repository. */
const policyText = (doras: number, small: number) =>
  [
    ...['ada', 'bob', 'cleo', 'dora', 'emil'].map((name) => grant(name, 'submitter', '**')),
    grant('w', 'worker', '**'),
    grant('root', 'admin', '**'),
    '[[shares]]\nto = ["ada"]\nweight = 2\n',
    `[[shares]]\nto = ["dora"]\nmax_running = ${doras}\n`,
    '[[shares]]\nto = ["emil"]\nmax_queued = 2\n',
    `[[caps]]\nrepositories = ["small/*"]\nmax_running = ${small}\n`,
  ].join('\n');
writeFileSync(policy, policyText(1, 1));
const path = project.repository.path;
/** A clock that the test may put forward. */
const clock = { ahead: 0 };
const edge = { ...systemEdge, monotonic: () => performance.now() + clock.ahead };
const server = serverOfFile({
  edge,
  repositories: { project: path, 'small/a': path, 'small/b': path },
  settings: { policy },
});
const as = (name: string) => server.as(name);
const [ada, bob, cleo, dora, emil, w, root] = ['ada', 'bob', 'cleo', 'dora', 'emil', 'w', 'root'].map(as) as [
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
  ReturnType<typeof as>,
];
test.after.always(() => {
  rmSync(dir, { recursive: true });
  project.repository.dispose();
});

let n = 0;
const made = async (who: typeof ada, more: Parameters<typeof request>[1] = {}) =>
  uuidOf(await request(who, { scriptParameters: { n: n++ }, ...more }));
const queued = async () => (await root.jobs.getQueue({})).jobs.map(({ uuid }) => uuid);
const eventsOf = async (who: typeof ada, uuid: string) =>
  (await collect(who.history.readHistory({ uuid }))).map(({ event }) => event?.event);

test.serial('claims are given jobs in turns of their owners, by weight, and the queue tells that order', async (t) => {
  const of: Record<string, string> = {};
  for (const who of [bob, bob, bob, ada, ada, ada, ada]) of[await made(who)] = who.principal;
  const order = await queued();
  t.deepEqual(
    order.map((uuid) => of[uuid]),
    ['ada', 'bob', 'ada', 'ada', 'bob', 'ada', 'bob'],
  );
  const pages = await root.jobs.getQueue({ pageSize: 3 });
  const rest = await root.jobs.getQueue({ pageSize: 4, pageToken: pages.nextPageToken });
  t.deepEqual(
    [...pages.jobs, ...rest.jobs].map(({ uuid }) => uuid),
    order,
  );
  for (const uuid of order) t.is((await w.worker.claimJob({})).job?.uuid, uuid);
});

test.serial(
  'a shared job takes the turn of who waited longest, and whose that is then is not told to who left',
  async (t) => {
    const same = { scriptParameters: { shared: true } };
    const uuid = uuidOf(await find(ada, same));
    const cleos = await made(cleo);
    t.is(uuidOf(await find(cleo, same)), uuid);
    const bobs = [await made(bob), await made(bob)];
    t.is((await queued())[0], uuid);
    await ada.jobs.cancelJob({ uuid });
    const first = (await eventsOf(root, uuid)).find((event) => event?.case === 'jobLeft')?.value;
    t.like(first, { turnOf: 'cleo', turnWeight: 1 });
    const told = (await eventsOf(ada, uuid)).find((event) => event?.case === 'jobLeft')?.value;
    t.like(told, { turnOf: '', principal: 'ada' });
    t.is(told && 'turnWeight' in told ? told.turnWeight : undefined, undefined);
    const requested = (await eventsOf(ada, uuid)).find((event) => event?.case === 'jobRequested')?.value;
    t.like(requested, { turnWeight: 2 });
    const order = await queued();
    t.deepEqual(order, [cleos, bobs[0], uuid, bobs[1]]);
    for (const one of order) t.is((await w.worker.claimJob({})).job?.uuid, one);
  },
);

const seconds = (count: number) => ({ seconds: BigInt(count) });
/** A worker that is told of. */
const named = { workerName: 'mill' };
const waitsFor = async (uuid: string) => (await root.jobs.getJob({ uuid })).waitingFor;
const finish = async (uuid: string) => void (await w.worker.completeJob({ uuid, output: 'o', log: 'l' }));

test.serial(
  'no more jobs of an owner run than its cap, and one that ends lets a claim that waits have the next',
  async (t) => {
    const [first, second] = [await made(dora, { priority: 9 }), await made(dora, { priority: 9 })];
    const others = await made(bob);
    t.is((await w.worker.claimJob(named)).job?.uuid, first);
    await until('the worker is seen', async () => !/no worker/.test(await waitsFor(second)));
    t.is(await waitsFor(second), '1 job of its owner runs, and 1 may at once');
    t.is((await root.jobs.getQueue({})).waitingFor[second], '1 job of its owner runs, and 1 may at once');
    const capped = { code: 'FAILED_PRECONDITION', reason: 'RUNNING_CAP' } as const;
    const naming = `job ${second} is given to nobody now: 1 job of its owner runs, and 1 may at once`;
    await refused(t, server, () => w.worker.claimJob({ uuid: second }), { ...capped, naming });
    // Who may not run jobs there is not told.
    t.is((await failure(t, () => ada.worker.claimJob({ uuid: second }))).reason, 'NOT_PERMITTED');
    t.is((await w.worker.claimJob({})).job?.uuid, others);
    t.is((await w.worker.claimJob({})).job, undefined);
    const waiting = w.worker.claimJob({ wait: seconds(60) });
    await finish(first);
    t.is((await waiting).job?.uuid, second);
    await Promise.all([second, others].map(finish));
  },
);

test.serial('many claims at once begin no more jobs than the cap of the owner', async (t) => {
  const all = new Set([await made(dora), await made(dora), await made(dora)]);
  for (let left = all.size; left > 0; left--) {
    const claims = await Promise.all(Array.from({ length: 5 }, () => w.worker.claimJob({})));
    const given = claims.flatMap(({ job }) => job?.uuid ?? []);
    t.is(given.length, 1);
    t.true(all.delete(given[0] as string));
    await finish(given[0] as string);
  }
});

test.serial('no more jobs of each repository run than its cap', async (t) => {
  const [a, again, b] = [
    await made(ada, { repository: 'small/a' }),
    await made(ada, { repository: 'small/a' }),
    await made(ada, { repository: 'small/b' }),
  ] as const;
  const given = [await w.worker.claimJob({}), await w.worker.claimJob({}), await w.worker.claimJob({})];
  t.deepEqual(
    given.map(({ job }) => job?.uuid),
    [a, b, undefined],
  );
  t.is(await waitsFor(again), '1 job of its repository runs, and 1 may at once');
  const waiting = w.worker.claimJob({ wait: seconds(60) });
  await finish(b);
  await finish(a);
  t.is((await waiting).job?.uuid, again);
  await finish(again);
});

test.serial(
  'a policy that allows more wakes the claims that wait for it, and one that allows less is kept',
  async (t) => {
    const doras = [await made(dora), await made(dora), await made(dora)] as const;
    const smalls = [await made(ada, { repository: 'small/a' }), await made(ada, { repository: 'small/a' })] as const;
    const given = async (claim: ReturnType<typeof w.worker.claimJob>) => (await claim).job?.uuid;
    const wait = seconds(60);
    const begun = [await given(w.worker.claimJob({})), await given(w.worker.claimJob({}))];
    t.deepEqual(begun.sort(), [doras[0], smalls[0]].sort());
    const [first, second] = [w.worker.claimJob({ wait }), w.worker.claimJob({ wait, offer: { cores: 1 } })].map(given);
    writeFileSync(policy, policyText(2, 1));
    t.is(await Promise.race([first, second]), doras[1]);
    writeFileSync(policy, policyText(2, 2));
    t.deepEqual((await Promise.all([first, second])).sort(), [doras[1], smalls[1]].sort());
    writeFileSync(policy, policyText(1, 1));
    await until(
      'the policy is read',
      async () => (await waitsFor(doras[2])) === '2 jobs of its owner run, and 1 may at once',
    );
    const last = given(w.worker.claimJob({ wait }));
    await finish(doras[0]);
    t.is(await given(w.worker.claimJob({})), undefined);
    await finish(doras[1]);
    t.is(await last, doras[2]);
    await Promise.all([...smalls, doras[2]].map(finish));
  },
);

test.serial(
  'several servers of a log exceed a cap by no more than one job each, and end with all of them run',
  async (t) => {
    const double = await startDouble();
    const [cap, count] = [2, 14];
    writeFileSync(policy, policyText(cap, 100));
    const options = {
      repositories: { project: path },
      settings: { policy, store: double.url, log_format: newestFormat },
    };
    const servers = await Promise.all([1, 2].map(() => startTestServer(options)));
    const log = await openLog(double.url, systemEdge);
    try {
      const [one] = servers.map((each) => each.as('dora'));
      const mine = new Set<string>();
      for (let i = 0; i < count; i++) mine.add(await made(one as typeof ada));
      // Whoever finds that no more may run waits until that is otherwise, whichever server ended one.
      const ended = new AbortController();
      const work = async (worker: typeof ada): Promise<void> => {
        while (mine.size > 0) {
          const claim = worker.worker.claimJob({ wait: seconds(60) }, { signal: ended.signal });
          const { job } = await claim.catch((error: unknown) => {
            if (mine.size === 0) return { job: undefined };
            throw error;
          });
          if (!job) return;
          await worker.worker.heartbeat({ uuid: job.uuid });
          await worker.worker.completeJob({ uuid: job.uuid, output: 'o', log: 'l' });
          t.true(mine.delete(job.uuid));
          if (mine.size === 0) ended.abort();
        }
      };
      await Promise.all(servers.flatMap((each) => Array.from({ length: 4 }, () => work(each.as('w')))));
      let [running, most] = [0, 0];
      for await (const { type } of log.readAll()) {
        if (type === 'JobStarted') most = Math.max(most, ++running);
        else if (type === 'JobCompleted') running--;
      }
      t.is(running, 0);
      t.true(most >= cap && most <= cap + servers.length - 1, `${most} ran at once`);
    } finally {
      await log.close();
      await Promise.all(servers.map((each) => each.dispose()));
      await double.stop();
    }
  },
);

test.serial(
  'who has as many jobs queued as its quota makes no more, and is answered with those there are',
  async (t) => {
    const own = { scriptParameters: { emil: 1 } };
    const uuid = uuidOf(await find(emil, own));
    const other = await made(emil);
    const exhausted = { code: 'RESOURCE_EXHAUSTED', reason: 'QUEUE_QUOTA' } as const;
    const naming = '"emil" has 2 jobs queued, and its quota is 2';
    await refused(t, server, () => made(emil), { ...exhausted, naming });
    await refused(t, server, () => made(emil, { submitId: 'a', findOrCreate: true }), { ...exhausted, naming });
    t.is(uuidOf(await find(emil, own)), uuid);
    const batch = { repository: 'project', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
    const { results } = await emil.jobs.createJobs({
      requests: [
        { ...batch, scriptParameters: { emil: 2 } },
        { ...batch, ...own },
      ],
    });
    t.deepEqual(
      results.map(({ error, job }) => error?.reason ?? job?.uuid),
      ['QUEUE_QUOTA', uuid],
    );
    // What others have does not count.
    uuidOf(await find(cleo, own));
    await emil.jobs.cancelJob({ uuid: other });
    const { consistencyToken } = await emil.jobs.cancelJob({ uuid });
    await emil.jobs.getJob({ uuid, consistencyToken });
    const tries = await Promise.allSettled(Array.from({ length: 6 }, () => made(emil)));
    t.is(tries.filter(({ status }) => status === 'fulfilled').length, 2, 'what is being made counts');
    await refused(t, server, () => emil.jobs.retryJob({ uuid: other }), { ...exhausted, naming });
    const made2 = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    for (const one of made2) await emil.jobs.cancelJob({ uuid: one });
    t.false((await emil.jobs.retryJob({ uuid: other })).reused);
  },
);

const small = { cores: 4, labels: { room: 'fair' } };
const asks = (cores: number) => ({
  requiredLabels: { room: 'fair' },
  runtimeConstraints: { minCoresPerNode: cores },
  retry: { lost: 9, minBackoff: seconds(0), maxBackoff: seconds(0) },
});
type Wish = { wait?: { seconds: bigint }; total?: typeof small; offer?: typeof small };
const claimAs = (workerName: string, more: Wish = {}) => w.worker.claimJob({ workerName, offer: small, ...more });

test.serial(
  'the next attempt goes to another worker than lost the job, or to the same once it has waited',
  async (t) => {
    await claimAs('one');
    await claimAs('two');
    const seen = async () => (await root.workers.listWorkers({})).workers.map(({ workerName }) => workerName);
    await until('both are seen', async () => (await seen()).filter((name) => /^(one|two)$/.test(name)).length === 2);
    const uuid = await made(bob, asks(1));
    const fail = async (fault: Fault) => {
      const { consistencyToken } = await w.worker.failJob({ uuid, fault, reason: 'PLACE_FAULT', message: 'no space' });
      await w.jobs.getJob({ uuid, consistencyToken });
    };
    t.is((await claimAs('one')).job?.uuid, uuid);
    await fail(Fault.PLACE);
    t.is((await claimAs('one')).job, undefined);
    // The one that waits is passed by for the other, although it has waited longer.
    const [one, two] = [claimAs('one', { wait: seconds(60) }), claimAs('two', { wait: seconds(60) })];
    t.is((await two).job?.uuid, uuid);
    await fail(Fault.WORKER);
    t.is((await one).job?.uuid, uuid);
    await fail(Fault.WORKER);
    const again = claimAs('one', { wait: seconds(60) });
    t.is((await claimAs('one')).job, undefined);
    clock.ahead += 30_000;
    t.is((await again).job?.uuid, uuid);
    // Given back in good order it is for anybody.
    await w.worker.failJob({ uuid, fault: Fault.WORKER, reason: 'WORKER_STOPPED', message: '', givenBack: true });
    t.is((await claimAs('one', { wait: seconds(60) })).job?.uuid, uuid);
    await fail(Fault.WORKER);
    await root.workers.drainWorker({ principal: 'w', workerName: 'two' });
    // What is known of workers is looked up once a second.
    clock.ahead += 1_000;
    t.is((await claimAs('one')).job?.uuid, uuid, 'nobody else could run it');
    await finish(uuid);
  },
);

/** Has a worker pass a job by until it is kept free for it: gives the job, and how many small ones are queued behind it. */
async function passBy(t: ExecutionContext, workerName: string): Promise<{ large: string; smalls: string[] }> {
  const large = await made(cleo, asks(8));
  const smalls: string[] = [];
  const total = { ...small, cores: 8 };
  for (let passes = 1; ; passes++) {
    smalls.push(await made(cleo, asks(1)));
    const { job } = await claimAs(workerName, { total });
    if (!job) {
      t.true(passes > 10);
      return { large, smalls };
    }
    t.is(job.uuid, smalls.pop() ?? '');
    await finish(job.uuid);
    await until('the worker is seen', async () => (await told(root, workerName)) !== undefined);
    clock.ahead += 31_000;
  }
}
const told = async (who: typeof ada, name: string) =>
  (await who.workers.listWorkers({})).workers.find(({ workerName }) => workerName === name);

test.serial('a worker is kept free for a job that waited long and was passed over by smaller ones', async (t) => {
  const { large, smalls } = await passBy(t, 'big');
  t.is(await waitsFor(large), 'a worker is kept free for it');
  t.is((await told(root, 'big'))?.reservedFor, large);
  const total = { ...small, cores: 8 };
  // Others are given what they can run.
  t.is((await claimAs('other', { total: small })).job?.uuid, smalls[0]);
  const another = await made(cleo, asks(1));
  t.is((await claimAs('big', { total })).job, undefined);
  t.is((await claimAs('big', { total, offer: total })).job?.uuid, large);
  await until('it is kept free no longer', async () => (await told(root, 'big'))?.reservedFor === '');
  t.is((await claimAs('big', { total, wait: seconds(60) })).job?.uuid, another);
});

test.serial('it is given other jobs again as soon as nobody wants that one', async (t) => {
  const { large, smalls } = await passBy(t, 'large');
  const waiting = claimAs('large', { total: { ...small, cores: 8 }, wait: seconds(60) });
  await cleo.jobs.cancelJob({ uuid: large });
  t.is((await waiting).job?.uuid, smalls[0]);
});
