import test from 'ava';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { systemEdge } from '../../src/edge.js';
import { collect } from '../contract/events.js';
import { makeRepository } from '../support/git-repository.js';
import { refused } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { serverOfFile } from '../support/server-of-file.js';

// base - left - merge - tip (main), with side between base and merge.
const repository = makeRepository();
const base = repository.commit({ 'run.sh': '#!base' });
repository.git('checkout', '--quiet', '-b', 'side');
const side = repository.commit({ 'side.txt': 'side' });
repository.git('checkout', '--quiet', 'main');
const left = repository.commit({ 'left.txt': 'left' });
repository.git('merge', '--quiet', '--no-ff', '--message=merge', 'side');
const merge = repository.git('rev-parse', 'HEAD');
const tip = repository.commit({ 'run.sh': '#!tip' });

let clock = Date.UTC(2026, 0, 1);
const edge = { ...systemEdge, now: () => clock };
const server = serverOfFile({ repositories: { project: repository.path }, edge });
const ada = server.as('ada');
const worker = server.as('worker');

test.after.always(() => {
  repository.dispose();
});

const own = (name: string) => ({ scriptParameters: { test: name } });

test.serial('a minimum accepts the commits from it on, parallel branches too, less the excluded ones', async (t) => {
  const made = new Map<string, string>();
  for (const scriptVersion of [base, side, left, merge]) {
    const { job } = await request(ada, { scriptVersion, ...own('minimum') });
    made.set(scriptVersion, job?.uuid ?? '');
    await complete(worker, job?.uuid ?? '');
  }
  const cases: [minimum: string, exclude: string[], answer: string | undefined][] = [
    ['', [], undefined],
    [base, [], made.get(base)],
    ['main~2', [], made.get(side)],
    [side, [], made.get(side)],
    ['main~2', ['side'], made.get(left)],
    ['main~2', [side, 'main~2'], made.get(merge)],
    [tip, [], undefined],
    [base, [base, side, left, merge], undefined],
  ];
  for (const [minimumScriptVersion, excludeScriptVersions, answer] of cases) {
    const wanted = { scriptVersion: 'main', minimumScriptVersion, excludeScriptVersions, ...own('minimum') };
    const { decision, job } = await ada.jobs.explainReuse({
      request: { repository: 'project', script: 'run.sh', ...wanted },
    });
    t.is(job?.uuid, answer, JSON.stringify([minimumScriptVersion, excludeScriptVersions]));
    t.is(decision?.candidateCount, 4);
  }
});

test.serial('the decision tells what every refspec resolved to and how the candidates narrowed down', async (t) => {
  const old = uuidOf(await request(ada, { scriptVersion: base, ...own('funnel') }));
  const flaky = uuidOf(await request(ada, { scriptVersion: side, nondeterministic: true, ...own('funnel') }));
  await complete(worker, flaky);
  const before = await server.end();
  const { decision } = await ada.jobs.explainReuse({
    request: {
      repository: 'project',
      script: 'run.sh',
      scriptVersion: 'main',
      minimumScriptVersion: 'side',
      excludeScriptVersions: ['main~1'],
      ...own('funnel'),
    },
  });
  t.is(await server.end(), before, 'nothing is recorded');
  t.is(decision?.outcome, Outcome.CREATED_NO_MATCH);
  t.deepEqual(
    decision?.resolutions.map(({ field, given, resolved }) => [field, given, resolved]),
    [
      ['script_version', 'main', tip],
      ['minimum_script_version', 'side', side],
      ['exclude_script_versions[0]', 'main~1', merge],
    ],
  );
  t.deepEqual(
    decision?.funnel.map(({ rule, ruledOut, left: rest }) => [Rule[rule], ruledOut, rest]),
    [
      ['SCRIPT_VERSION', 1, 1],
      ['NONDETERMINISTIC', 1, 0],
    ],
  );
  t.deepEqual(
    decision?.candidates.map(({ uuid, ruledOutBy }) => [uuid, Rule[ruledOutBy]]),
    [
      [old, 'SCRIPT_VERSION'],
      [flaky, 'NONDETERMINISTIC'],
    ],
  );
  t.regex(decision?.candidates[0]?.detail ?? '', new RegExp(`its script_version is ${base}, accepted is any of`));
});

test.serial('what is explained is what happens', async (t) => {
  const wanted = { scriptVersion: 'main', minimumScriptVersion: base, ...own('explained') };
  const asked = { repository: 'project', script: 'run.sh', findOrCreate: true, ...wanted };
  const first = await ada.jobs.explainReuse({ request: asked });
  const made = await ada.jobs.createJob(asked);
  t.is(first.decision?.uuid, made.job?.uuid);
  t.deepEqual(first.decision, made.decision);
  await complete(worker, uuidOf(made));
  const second = await ada.jobs.explainReuse({ request: asked });
  const again = await ada.jobs.createJob(asked);
  t.true(again.reused);
  t.deepEqual(second.decision, again.decision);
  t.deepEqual(second.job, again.job);
});

test.serial(
  'a running job whose worker has been silent for too long is passed over, and the decision says so',
  async (t) => {
    const uuid = uuidOf(await find(ada, own('silent')));
    await worker.worker.claimJob({ uuid, lease: { seconds: 3600n } });
    const within = { maxHeartbeatAge: { seconds: 60n }, ...own('silent') };
    clock += 50_000;
    t.is(uuidOf(await find(ada, within)), uuid);
    await worker.worker.heartbeat({ uuid });
    clock += 50_000;
    t.is(uuidOf(await find(ada, within)), uuid, 'the heartbeat counts, not the claim');
    clock += 20_000;
    t.is(uuidOf(await find(ada, own('silent'))), uuid, 'without a bound any age is accepted');
    const other = await find(ada, within);
    t.false(other.reused);
    const [candidate] = other.decision?.candidates ?? [];
    t.is(candidate?.ruledOutBy, Rule.HEARTBEAT);
    t.regex(candidate?.detail ?? '', /its last heartbeat was at 2026-01-01T00:00:50\.000Z, accepted is .* or later/);
  },
);

test.serial('a range that cannot be resolved is refused by name', async (t) => {
  const ask = (more: Parameters<typeof request>[1]) => () => find(ada, { ...own('refused'), ...more });
  await refused(t, server, ask({ minimumScriptVersion: 'gone' }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNRESOLVABLE_REFSPEC',
    field: 'minimum_script_version',
    naming: '"gone"',
  });
  await refused(t, server, ask({ excludeScriptVersions: ['main', 'gone'] }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNRESOLVABLE_REFSPEC',
    field: 'exclude_script_versions[1]',
    naming: '"gone"',
  });
  await refused(t, server, ask({ excludeScriptVersions: [''] }), {
    code: 'INVALID_ARGUMENT',
    reason: 'REQUIRED',
    field: 'exclude_script_versions[0]',
  });
  await refused(t, server, ask({ maxHeartbeatAge: { seconds: -1n } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field: 'max_heartbeat_age',
    naming: '-1',
  });
});

test.serial('repositories, refspecs and ranges can be asked for', async (t) => {
  const { repositories } = await ada.repositories.listRepositories({});
  t.deepEqual(
    repositories.map(({ name, head, problem }) => [name, head, problem]),
    [['project', tip, '']],
  );
  const { commit } = await ada.repositories.resolveRefspec({ repository: 'project', refspec: 'main^^2' });
  t.is(commit, side);
  const range = { repository: 'project', minimum: 'main~2', exclude: ['main~1'] };
  const expanded = (await collect(ada.repositories.expandRange(range))).flatMap(({ commits }) => commits);
  t.deepEqual(new Set(expanded), new Set([tip, side, left]));
  const limited = await collect(ada.repositories.expandRange({ ...range, limit: 2 }));
  t.deepEqual(
    limited.flatMap(({ commits }) => commits),
    expanded.slice(0, 2),
  );
  await refused(t, server, () => ada.repositories.resolveRefspec({ repository: 'other', refspec: 'main' }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_REPOSITORY',
    field: 'repository',
    naming: '"other"',
  });
  await refused(t, server, () => collect(ada.repositories.expandRange({ ...range, exclude: ['--all'] })), {
    code: 'INVALID_ARGUMENT',
    reason: 'BAD_REFSPEC',
    field: 'exclude[0]',
    naming: '--all',
  });
});
