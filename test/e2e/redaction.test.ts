import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescMessage, JsonObject } from '@bufbuild/protobuf';
import test from 'ava';
import { SavingsDimension } from '../../gen/memoir/jobs/v1/savings_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { memoirServices } from '../support/services.js';

// What one caller's request, decision or order put into an event is told to those alone who may know it: somebody who knows both
// repositories works, and somebody who knows one of them asks everything that there is to ask.

const dir = mkdtempSync(join(tmpdir(), 'memoir-redaction-'));
const policy = join(dir, 'policy.toml');
const grant = (to: string, roles: string, repositories: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = [${roles}]\nrepositories = [${repositories}]\n`;
writeFileSync(
  policy,
  [
    grant('both', '"submitter", "worker", "admin"', '"open", "veiled"'),
    grant('ann', '"submitter", "worker", "admin"', '"open"'),
    grant('root', '"admin"', '"**"'),
  ].join('\n'),
);
const project = makeProject();
const path = project.repository.path;
const server = serverOfFile({
  repositories: { open: path, veiled: path },
  settings: { policy },
});
const [both, ann, root] = ['both', 'ann', 'root'].map(server.as) as [Clients, Clients, Clients];

test.after.always(() => {
  project.repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

/** A request of `both` that takes a job of either repository. */
const either = (parameters: JsonObject) => ({
  repository: 'open',
  findOrCreate: true,
  scriptParameters: parameters,
  filters: [
    ['repository', 'in', ['open', 'veiled']],
    ['script', '=', 'run.sh'],
  ].map((triple) => filterFromTriple(triple as never)),
});

type Scene = {
  readonly jobs: readonly string[];
  /** What `ann` must never be told. */
  readonly secrets: readonly string[];
};

let made: Promise<Scene> | undefined;
const scene = () => {
  made ??= build();
  return made;
};

async function build(): Promise<Scene> {
  // Three jobs of the veiled repository that a decision on an open one looks at: their outputs differ, and one is under an exclusion.
  const veiled: string[] = [];
  for (const output of ['sha256:one', 'sha256:two']) {
    const uuid = uuidOf(await request(both, { repository: 'veiled', scriptParameters: { of: 'either' } }));
    await complete(both, uuid, output);
    veiled.push(uuid);
  }
  const source = uuidOf(await request(both, { repository: 'veiled', scriptParameters: { of: 'source' } }));
  await complete(both, source, 'sha256:spoilt');
  veiled.push(source);
  const target = { case: 'jobUuid' as const, value: source };
  const order = { target, cascade: true, reason: 'the veiled instrument was broken' };
  await both.exclusions.excludeFromReuse(order);

  const worker = { case: 'worker' as const, value: { principal: 'veiled worker' } };
  await root.exclusions.excludeFromReuse({ target: worker, reason: 'its instrument was broken' });

  // A job of the open repository that took the output of the spoilt one, and a request that meets it.
  const taking = { repository: 'open', scriptParameters: { input: 'sha256:spoilt' } };
  const spoilt = uuidOf(await request(both, taking));
  await complete(both, spoilt, 'sha256:taken');
  const anew = uuidOf(await find(both, taking));
  // Decisions by filters, with candidates of both: one for a new job, and one for an old.
  const first = uuidOf(await find(both, either({ of: 'either' })));
  await complete(both, first, 'sha256:three');
  const alone = uuidOf(await request(both, { repository: 'open', scriptParameters: { of: 'alone' } }));
  await complete(both, alone, 'sha256:four');
  const failing = uuidOf(await request(both, { repository: 'veiled', scriptParameters: { of: 'alone' } }));
  await both.worker.claimJob({ uuid: failing });
  const { consistencyToken: failed } = await both.worker.failJob({ uuid: failing, reason: 'BROKEN', message: 'm' });
  await both.jobs.getJob({ uuid: failing, consistencyToken: failed });
  veiled.push(failing);
  await find(both, either({ of: 'alone' }));

  // Components of the other repository, given at once and later, and a cascade that comes from there.
  const components = { part: source };
  const whole = uuidOf(await request(root, { repository: 'open', scriptParameters: { of: 'whole' }, components }));
  const later = uuidOf(await request(root, { repository: 'open', scriptParameters: { of: 'later' } }));
  const updateMask = { paths: ['components'] };
  await root.jobs.updateJob({ job: { uuid: later, components: { part: source, other: whole } }, updateMask });
  const child = uuidOf(await request(both, { repository: 'open', scriptParameters: { of: 'child' } }));
  const parent = uuidOf(
    await request(both, { repository: 'veiled', scriptParameters: { of: 'parent' }, components: { child } }),
  );
  const { consistencyToken } = await root.jobs.cancelJob({ uuid: parent, cascade: true });
  veiled.push(parent);
  await root.jobs.getJob({ uuid: parent, consistencyToken });
  return {
    jobs: [spoilt, anew, first, alone, whole, later, child],
    secrets: [...veiled, 'veiled'],
  };
}

const text = (answer: unknown) =>
  JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? String(value) : value));

/** Everything that a caller is told, by every method that tells of jobs, events or decisions. */
async function askEverything(t: Clients, { jobs }: Scene): Promise<Map<string, string>> {
  const told = new Map<string, string>();
  const tell = (method: string, answer: unknown) => told.set(method, (told.get(method) ?? '') + text(answer));
  const end = await server.end();
  const past = { moment: { case: 'position' as const, value: BigInt(end) } };
  for (const uuid of jobs) {
    tell('GetJob', await t.jobs.getJob({ uuid }));
    tell('GetJob', await t.jobs.getJob({ uuid, asOf: past }));
    tell('ReadHistory', await collect(t.history.readHistory({ uuid })));
    for await (const change of t.jobs.watchJob({ uuid })) {
      tell('WatchJob', change);
      break;
    }
    tell('TailJobLog', await collect(t.jobs.tailJobLog({ uuid, noFollow: true })));
  }
  for (const stream of ['job', 'reuse'].flatMap((kind) => jobs.map((uuid) => `${kind}-${uuid}`))) {
    for (const revision of [0, 1, 2, 3]) {
      const event = { case: 'streamEvent' as const, value: { stream, revision } };
      const proof = await t.audit.getInclusionProof({ event }).catch(() => undefined);
      if (proof) tell('GetInclusionProof', [proof, Buffer.from(proof.leafText).toString()]);
    }
  }
  tell('ReadHistory', await collect(t.history.readHistory({ repository: 'open' })));
  tell('ReadHistory', await collect(t.history.readHistory({ principal: 'both' })));
  tell('ReadHistory', await collect(t.history.readHistory({ since: { seconds: 0n } })));
  for await (const answer of t.history.subscribeEvents({ start: { case: 'beginning', value: {} } })) {
    tell('SubscribeEvents', answer);
    if (answer.content.case === 'heartbeat') break;
  }
  tell('ListJobs', await t.jobs.listJobs({ countTotal: true }));
  tell('ListJobs', await t.jobs.listJobs({ countTotal: true, asOf: past }));
  tell('GetQueue', await t.jobs.getQueue({ countTotal: true }));
  for (const uuid of jobs) {
    tell('GetLineage', await t.jobs.getLineage({ uuid, maxJobs: 1_000 }));
    tell('GetChecks', await t.jobs.getChecks({ uuid }));
    tell('CompareJobs', await t.jobs.compareJobs({ a: jobs[0] as string, b: uuid }));
  }
  const by = [SavingsDimension.OWNER, SavingsDimension.REPOSITORY, SavingsDimension.SCRIPT];
  tell('GetSavings', await t.jobs.getSavings({ by }));
  tell('GetSavings', await t.jobs.getSavings({ by, asOf: past }));
  tell('ListExclusions', await t.exclusions.listExclusions({ includeReinstated: true }));
  for (const of of ['either', 'alone', 'whole']) {
    const asked = { script: 'run.sh', scriptVersion: 'main', ...either({ of }) };
    tell('ExplainReuse', await t.jobs.explainReuse({ request: asked }));
    tell('ExplainReuse', await t.jobs.explainReuse({ request: asked, asOf: past }));
    tell('CreateJob', await t.jobs.createJob({ ...asked, findOrCreate: of !== 'whole', explainMisses: true }));
    tell('CreateJobs', await t.jobs.createJobs({ requests: [{ ...asked, findOrCreate: of === 'either' }] }));
  }
  const taking = { repository: 'open', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
  const scriptParameters = { input: 'sha256:spoilt' };
  tell('ExplainReuse', await t.jobs.explainReuse({ request: { ...taking, scriptParameters } }));
  return told;
}

/** What `ann` is told by doing: each of the methods that change a job answers with it. */
async function doEverything(t: Clients, jobs: readonly string[]): Promise<Map<string, string>> {
  const told = new Map<string, string>();
  const [whole, later] = jobs.slice(-3) as [string, string];
  const updateMask = { paths: ['description'] };
  told.set('UpdateJob', text(await t.jobs.updateJob({ job: { uuid: whole, description: 'd' }, updateMask })));
  told.set('ClaimJob', text(await t.worker.claimJob({ uuid: whole })));
  told.set('CompleteJob', text(await t.worker.completeJob({ uuid: whole, output: 'o', log: 'l' })));
  await t.worker.claimJob({ uuid: later });
  told.set('FailJob', text(await t.worker.failJob({ uuid: later, reason: 'BROKEN', message: 'm' })));
  told.set('CancelJob', text(await t.jobs.cancelJob({ uuid: jobs.at(-1) as string, cascade: true })));
  told.set('RetryJob', text(await t.jobs.retryJob({ uuid: later })));
  told.set('CheckJob', text(await t.jobs.checkJob({ uuid: whole, runs: 2 })));
  told.set('RetryJobs', text(await t.jobs.retryJobs({ selection: { uuids: [later] } })));
  return told;
}

/** Methods whose answers hold a job, an event, a decision, or something that was worked out from these, wherever in them. */
function tellingMethods(): string[] {
  const telling = [
    'memoir.history.v1.RecordedEvent',
    ...['Job', 'Decision', 'LineageJob', 'ComparedJob', 'NearMiss', 'Check', 'SavingsRow'].map(
      (name) => `memoir.jobs.v1.${name}`,
    ),
  ];
  const holds = (type: DescMessage, seen: ReadonlySet<string>): boolean =>
    telling.includes(type.typeName) ||
    (!seen.has(type.typeName) &&
      type.fields.some(({ message }) => message && holds(message, new Set([...seen, type.typeName]))));
  return memoirServices.flatMap(({ methods }) =>
    methods.filter(({ output }) => holds(output, new Set())).map(({ name }) => name),
  );
}

test.serial('whoever knows both repositories is told of both', async (t) => {
  const { jobs, secrets } = await scene();
  const told = await askEverything(both, { jobs, secrets });
  for (const method of ['ReadHistory', 'SubscribeEvents']) {
    for (const secret of secrets) t.true(told.get(method)?.includes(secret), `${method} tells of ${secret}`);
    t.true(told.get(method)?.includes('"candidateCount":2'), method);
  }
});

test.serial('who knows one of them is told of nothing of the other, by no method', async (t) => {
  const { jobs, secrets } = await scene();
  const told = new Map([...(await askEverything(ann, { jobs, secrets })), ...(await doEverything(ann, jobs))]);
  for (const method of tellingMethods()) t.true(told.has(method), `${method} is asked`);
  for (const [method, answers] of told) {
    for (const secret of secrets) t.false(answers.includes(secret), `${method} tells ${secret}`);
    const own = ['ExplainReuse', 'CreateJob', 'CreateJobs'].includes(method);
    t.false(!own && /"candidateCount":[2-9]/.test(answers), `${method} tells how many candidates there were`);
    t.false(answers.includes('instrument'), `${method} tells a reason`);
    t.false(/"detail":"[^"]*(veil|in \[)/.test(answers), `${method} tells what a filter named`);
  }
  // What is of the open repository is all there.
  const history = told.get('ReadHistory') as string;
  for (const uuid of jobs) t.true(history.includes(uuid));
  t.true(history.includes('it, or what it took, is under an exclusion'));
  t.true(history.includes('"components":{"part":""}'));
});

test.serial('a filter on components does not tell what an answer leaves out', async (t) => {
  const { jobs, secrets } = await scene();
  const [source] = secrets.slice(2) as [string];
  const matching = async (who: Clients, triple: readonly unknown[]) =>
    (await who.jobs.listJobs({ filters: [filterFromTriple(triple as never)] })).jobs.length;
  t.is(jobs.length, 7);
  t.is(await matching(root, ['components.part', '=', source]), 2);
  t.is(await matching(ann, ['components.part', '=', source]), 0);
  t.is(await matching(ann, ['components.part', 'like', `${source.slice(0, 4)}%`]), 0);
  const { jobs: others } = await ann.jobs.listJobs({
    filters: [filterFromTriple(['components.part', '!=', source])],
  });
  t.deepEqual(new Set(others.map(({ owner }) => owner)), new Set(['ann']));

  // Nor does a decision, by what it chooses or by why it does not.
  const [, , , , whole = ''] = jobs;
  const decided = async (who: Clients, beginning: string) => {
    const filters = [
      ['repository', '=', 'open'],
      ['script', '=', 'run.sh'],
      ['components.part', 'like', `${beginning}%`],
    ].map((triple) => filterFromTriple(triple as never));
    const scriptParameters = { of: 'whole' };
    const asked = { repository: 'open', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
    const { decision } = await who.jobs.explainReuse({ request: { ...asked, scriptParameters, filters } });
    return text(decision).replaceAll(beginning, 'it');
  };
  t.true((await decided(root, source.slice(0, 8))).includes(whole));
  const right = await decided(ann, source.slice(0, 8));
  t.is(right, await decided(ann, 'fffffffe'));
  t.true(right.includes('components are told to the owner of a job alone'), right);
});
