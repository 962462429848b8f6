import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ava from 'ava';
import { type Check, CheckOutcome, DifferenceCause, DifferenceKind } from '../../gen/memoir/jobs/v1/check_pb.js';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import { audited } from '../audit/scene.js';
import { runMemoir } from '../support/command.js';
import { makeRepository } from '../support/git-repository.js';
import { refused } from '../support/refused.js';
import { find, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';
import { workOnce } from '../support/worker.js';

const repository = makeRepository();
repository.commit({
  'run.sh': [
    '#!/bin/sh',
    'cd "$MEMOIR_OUTPUT"; mkdir d; echo same > d/same; ln -s same d/link',
    'grep -q differ "$MEMOIR_PARAMETERS" || exit 0',
    'date +%s%N > when; echo "made in $MEMOIR_OUTPUT" > where; echo "$$ is a number" > d/pid',
    'i=$(ls "$COUNT" | wc -l); touch "$COUNT/$i"; touch "only-$i"; test "$i" = 0 && chmod +x d/same',
    'for n in 1 2 3 4; do echo "line $(( (n + i) % 4 ))"; done > order; echo $((i + 5)) > number',
  ].join('\n'),
});
const dir = mkdtempSync(join(tmpdir(), 'memoir-checks-'));
const count = mkdtempSync(join(dir, 'count-'));
const policy = join(dir, 'policy.toml');
const grants = [
  'ada submitter project',
  'bob submitter project',
  'eve reader project',
  'runner worker project',
  'root admin **',
]
  .map((grant) => grant.split(' '))
  .map(([to, role, of]) => `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`);
writeFileSync(policy, [...grants, '[[shares]]\nto = ["bob"]\nmax_queued = 1\nmax_running = 1\n'].join('\n'));
/** Below the sampled share or not. */
const chance = { is: 1 };
const server = serverOfFile({
  edge: { ...systemEdge, random: () => chance.is },
  repositories: { project: repository.path },
  settings: { policy, determinism: { sample: 0.5, at_once: 1, on_difference: 'exclude' } },
});
const as = (name: string) => server.as(name);
const [ada, bob, eve, root] = ['ada', 'bob', 'eve', 'root'].map(as) as [Clients, Clients, Clients, Clients];
ava.after.always(() => {
  repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const run = () =>
  workOnce({
    address: server.address(),
    principal: 'runner',
    repository: ['project', repository.path],
    environment: { COUNT: count },
  });

async function made(name: string, who: Clients = ada): Promise<string> {
  const uuid = uuidOf(await find(who, { scriptParameters: { [name]: true } }));
  await run();
  return uuid;
}

async function read(who: Clients, uuid: string): Promise<Job> {
  return (await who.jobs.getJob({ uuid })).job as Job;
}

/** Runs a command, and once so many jobs are queued a worker. */
async function checkedBy(name: string, runs: number, ...args: string[]) {
  const said = runMemoir(['check', ...args, '--runs', String(runs)], {
    env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: name },
  });
  await until('the runs are queued', async () => (await root.jobs.getQueueSize({})).size === BigInt(runs));
  await run();
  return said;
}

test('a job that gives the same again is told so, run by run, and stays the answer', async (t) => {
  const uuid = await made('same');
  const said = await checkedBy('ada', 2, uuid);
  t.is(said.code, 0, said.err);
  t.is(said.out.match(/Complete +the same/g)?.length, 2, said.out);
  const { checks } = await eve.jobs.getChecks({ uuid });
  t.deepEqual(
    checks.map(({ outcome }) => outcome),
    [CheckOutcome.SAME, CheckOutcome.SAME],
  );
  const [newest] = checks as [Check];
  t.like(await read(eve, newest.uuid), {
    checkOf: uuid,
    runNumber: 3,
    priority: -1000,
    owner: 'ada',
    labels: {},
    submitId: '',
  });

  const { job, decision } = await find(bob, { scriptParameters: { same: true } });
  t.is(job?.uuid, uuid);
  const ruledOut = decision?.candidates.map(({ ruledOutBy }) => ruledOutBy);
  t.deepEqual(ruledOut, [Rule.UNSPECIFIED, Rule.CHECK, Rule.CHECK]);
});

test('a job that gives something else is told file by file, and excluded where that is set', async (t) => {
  const uuid = await made('differ');
  const said = await checkedBy('ada', 1, uuid, '--json');
  t.is(said.code, 9, said.err);
  const { checks } = await ada.jobs.getChecks({ uuid });
  const [check] = checks as [Check];
  t.like(check, { outcome: CheckOutcome.DIFFERENT, state: JobState.COMPLETE, incomplete: false });
  const { TIME, PATH, ORDER, UNSPECIFIED } = DifferenceCause;
  const { BYTES, EXECUTABLE, ONLY_BEFORE, ONLY_AGAIN } = DifferenceKind;
  const told = check.differences.map(({ path, kind, cause }) => [path, kind, cause]);
  t.deepEqual(told, [
    ['d/pid', BYTES, UNSPECIFIED],
    ['d/same', EXECUTABLE, UNSPECIFIED],
    ['number', BYTES, UNSPECIFIED],
    ['only-0', ONLY_BEFORE, UNSPECIFIED],
    ['only-1', ONLY_AGAIN, UNSPECIFIED],
    ['order', BYTES, ORDER],
    ['when', BYTES, TIME],
    ['where', BYTES, PATH],
  ]);
  t.like(check.differences[2], { firstByte: 0n, detail: '"5\\n" and "6\\n"' });
  t.true(said.out.includes('"detail":"\\"5\\\\n\\" and \\"6\\\\n\\""'), said.out);
  const { checks: few } = await ada.jobs.getChecks({ uuid, maxDifferences: 2 });
  t.like(few[0], { incomplete: true, differences: { length: 2 } });

  await until('the job is excluded', async () => (await root.exclusions.listExclusions({})).exclusions.length === 1);
  const listed = await runMemoir(['check', uuid, '--list'], {
    env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'eve' },
  });
  t.is(listed.code, 9);
  t.regex(listed.out, /where +\d+ +a path/);
  const again = await find(ada, { scriptParameters: { differ: true } });
  t.like(again, { reused: false, job: { runNumber: 3 } });
  t.deepEqual(
    again.decision?.candidates.map(({ ruledOutBy }) => ruledOutBy),
    [Rule.EXCLUDED, Rule.CHECK],
  );
  await ada.jobs.cancelJob({ uuid: uuidOf(again) });
  t.is(server.warnings.filter(({ msg }) => msg === 'a second run of a job gave another output').length, 1);

  // What somebody reinstated is not excluded again by the same.
  const { exclusions } = await root.exclusions.listExclusions({});
  await root.exclusions.reinstateForReuse({ id: exclusions[0]?.exclusion?.id ?? '', reason: 'it is right' });
  await made('other');
  t.is((await root.exclusions.listExclusions({})).exclusions.length, 0);
});

test('second runs count in no quota and no cap, and are found as what they are', async (t) => {
  const uuid = await made('quota', bob);
  const { checks, consistencyToken } = await bob.jobs.checkJob({ uuid, runs: 3 });
  t.is(checks.length, 3);
  await t.notThrowsAsync(find(bob, { scriptParameters: { quota: 2 } }));
  const filters = [
    { attribute: 'check_of', operator: '=', operand: { kind: { case: 'stringValue' as const, value: uuid } } },
  ];
  const { jobs } = await eve.jobs.listJobs({ filters, consistencyToken });
  t.deepEqual(
    jobs.map((job) => job.checkOf),
    [uuid, uuid, uuid],
  );
  const { jobs: queued } = await eve.jobs.getQueue({ filters, consistencyToken });
  t.is(queued.length, 3);
  const first = await bob.jobs
    .watchJob({ uuid: jobs[0]?.uuid ?? '' })
    [Symbol.asyncIterator]()
    .next();
  t.is(first.value?.job?.checkOf, uuid);
  const { checks: pending } = await eve.jobs.getChecks({ uuid });
  t.deepEqual(new Set(pending.map(({ outcome }) => outcome)), new Set([CheckOutcome.PENDING]));
  for (const check of checks) await bob.jobs.cancelJob({ uuid: check.uuid });
  const { checks: cancelled } = await eve.jobs.getChecks({ uuid, checks: [checks[0]?.uuid ?? ''] });
  t.like(cancelled, {
    length: 1,
    0: { outcome: CheckOutcome.INCONCLUSIVE, message: `job ${checks[0]?.uuid} is Cancelled` },
  });
  await run();
});

test('who may not, what is not, and how many are too many', async (t) => {
  const uuid = await made('refused');
  const queued = uuidOf(await find(ada, { scriptParameters: { refused: 2 } }));
  const {
    checks: [check],
  } = await ada.jobs.checkJob({ uuid });
  await ada.jobs.cancelJob({ uuid: check?.uuid ?? '' });
  const one = (who: Clients, more: object) => () => who.jobs.checkJob({ uuid, ...more });
  const no = { code: 'FAILED_PRECONDITION', reason: 'JOB_NOT_COMPARABLE' } as const;
  await refused(t, server, one(eve, {}), { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED', naming: '"project"' });
  await refused(t, server, one(as('nobody'), {}), { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND' });
  await refused(t, server, () => as('nobody').jobs.getChecks({ uuid }), {
    code: 'NOT_FOUND',
    reason: 'JOB_NOT_FOUND',
  });
  await refused(t, server, one(ada, { uuid: queued }), { ...no, naming: 'is Queued' });
  await refused(t, server, one(ada, { runs: 11 }), {
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field: 'runs',
    naming: '11',
  });
  await refused(t, server, () => eve.jobs.getChecks({ uuid, checks: [queued] }), {
    code: 'INVALID_ARGUMENT',
    reason: 'NO_CHECK',
    field: 'checks',
    naming: queued,
  });
  await refused(t, server, () => ada.jobs.retryJob({ uuid: check?.uuid ?? '' }), {
    code: 'FAILED_PRECONDITION',
    reason: 'JOB_NOT_RETRIABLE',
  });
  for (let i = 0; i < 10; i++) await ada.jobs.checkJob({ uuid, runs: 10 });
  await refused(t, server, one(ada, {}), { code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_CHECKS', naming: '100' });
  const { jobs } = await ada.jobs.listJobs({
    pageSize: 1000,
    filters: [{ attribute: 'state', operator: '=', operand: { kind: { case: 'stringValue', value: 'Queued' } } }],
  });
  await ada.jobs.cancelJobs({ selection: { uuids: jobs.map((job) => job.uuid) } });
});

test('a share of the answers is run again in the background, so many at once, and each job once', async (t) => {
  const [first, second] = [await made('sampled'), await made('beside')];
  const hit = (name: string) => find(bob, { scriptParameters: { [name]: true } });
  await hit('sampled');
  t.deepEqual((await eve.jobs.getChecks({ uuid: first })).checks, []);
  chance.is = 0.25;
  await hit('sampled');
  const check = await until('it is run again', async () => (await eve.jobs.getChecks({ uuid: first })).checks[0]);
  t.like(await read(eve, check.uuid), { owner: 'memoir', checkOf: first, priority: -1000 });
  await hit('sampled');
  await hit('beside');
  t.deepEqual(
    (await eve.jobs.getChecks({ uuid: second })).checks,
    [],
    'one is unfinished, and that is as many as may be',
  );
  await run();
  await hit('beside');
  await until('there is room again', async () => (await eve.jobs.getChecks({ uuid: second })).checks[0]);
  t.is((await eve.jobs.getChecks({ uuid: first })).checks.length, 1);
  await run();
  const completed = await made('completes');
  await until('what completes is sampled too', async () => (await eve.jobs.getChecks({ uuid: completed })).checks[0]);
  chance.is = 1;
  await run();
});

test('every decision beside second runs is taken again by an audit, as recorded', async (t) => {
  await server.stop();
  const { report, findings } = await audited(join(server.config.data_dir, 'events.sqlite'), {
    project: repository.path,
  });
  t.deepEqual(findings, []);
  t.true(report.same > 8, JSON.stringify(report));
});
