import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { makeProject } from '../support/project.js';
import { type Refusal, refused } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { loseReadModel, startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
});

/** What a decision says of its first candidate. */
function firstCandidate({ decision }: Pick<CreateJobResponse, 'decision'>) {
  const candidate = decision?.candidates[0];
  return {
    outcome: Outcome[decision?.outcome ?? -1],
    rule: Rule[candidate?.ruledOutBy ?? -1],
    detail: candidate?.detail ?? '',
  };
}

test('an excluded job is not reused from the next call on, and is again when it is reinstated', async (t) => {
  const made = await find(ada, { scriptParameters: { test: 'job' } });
  await complete(bob, uuidOf(made), 'sha256:job');
  t.is(uuidOf(await find(ada, { scriptParameters: { test: 'job' } })), uuidOf(made));
  const excluded = await ada.exclusions.excludeFromReuse({
    target: { case: 'jobUuid', value: uuidOf(made).toUpperCase() },
    reason: 'the disk was full',
  });
  t.deepEqual(
    excluded.hits.map(({ uuid, throughUuid }) => [uuid, throughUuid]),
    [[uuidOf(made), '']],
  );
  t.is(excluded.hitCount, 1);
  const id = excluded.exclusion?.id ?? '';
  const explained = await ada.jobs.explainReuse({
    request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', scriptParameters: { test: 'job' } },
  });
  t.deepEqual(
    explained.decision?.funnel.map(({ rule, ruledOut, left }) => [Rule[rule], ruledOut, left]),
    [['EXCLUDED', 1, 0]],
  );
  const next = await find(ada, { scriptParameters: { test: 'job' } });
  t.false(next.reused);
  t.deepEqual(firstCandidate(next), {
    outcome: 'CREATED_NO_MATCH',
    rule: 'EXCLUDED',
    detail: `it is under exclusion ${id} of job ${uuidOf(made)}: "the disk was full"`,
  });
  await ada.jobs.cancelJob({ uuid: uuidOf(next) });
  await ada.exclusions.reinstateForReuse({ id, reason: 'it was not' });
  t.is(uuidOf(await find(ada, { scriptParameters: { test: 'job' } })), uuidOf(made));
});

test('with cascade, what took the output of an excluded job is excluded, however deep, and so is what follows', async (t) => {
  const a = await request(ada, { scriptParameters: { test: 'cascade' } });
  await complete(bob, uuidOf(a), 'sha256:a');
  const b = await find(ada, { scriptParameters: { deep: [{ er: 'sha256:a' }] } });
  await complete(bob, uuidOf(b), 'sha256:b');
  const c = await find(ada, { scriptParameters: { x: 'sha256:b' } });
  const order = {
    target: { case: 'commit', value: { repository: 'project', commit: 'main' } },
    reason: 'wrong',
    cascade: true,
  } as const;
  const preview = await ada.exclusions.excludeFromReuse({
    ...order,
    target: { case: 'jobUuid', value: uuidOf(a) },
    dryRun: true,
  });
  t.is(preview.consistencyToken, '');
  t.is(preview.exclusion?.id, '');
  t.deepEqual(
    preview.hits.map(({ uuid, throughUuid }) => [uuid, throughUuid]),
    [
      [uuidOf(a), ''],
      [uuidOf(b), uuidOf(a)],
      [uuidOf(c), uuidOf(b)],
    ],
  );
  t.true((await find(ada, { scriptParameters: { x: 'sha256:b' } })).reused);
  const done = await ada.exclusions.excludeFromReuse({ ...order, target: { case: 'jobUuid', value: uuidOf(a) } });
  const again = await find(ada, { scriptParameters: { x: 'sha256:b' } });
  t.is(
    firstCandidate(again).detail,
    `it took the output "sha256:b" of job ${uuidOf(b)}, which is under exclusion ${done.exclusion?.id} of job ${uuidOf(a)}: "wrong"`,
  );
});

const rangeOf = (introducedBy: string, fixedBy = '') =>
  ({
    case: 'commitRange',
    value: { repository: 'project', introducedBy, fixedBy },
  }) as const;

test('a commit range goes along branches and through merges, from the fault to its mending, and on to commits to come', async (t) => {
  const { git, commit } = makeBranches();
  const test = 'range';
  const jobs = new Map<string, string>();
  for (const name of ['base', 'fault', 'topic', 'merged', 'beside', 'mended', 'after']) {
    const made = await request(ada, { scriptVersion: name, scriptParameters: { test, name } });
    await complete(bob, uuidOf(made), `sha256:${name}`);
    jobs.set(name, uuidOf(made));
  }
  const order = { target: rangeOf('fault', 'mended'), reason: 'rounds the wrong way' };
  const preview = await ada.exclusions.excludeFromReuse({ ...order, dryRun: true, maxHits: 2 });
  t.is(preview.hitCount, 3);
  t.deepEqual(
    preview.hits.map(({ uuid }) => uuid),
    ['fault', 'topic'].map((name) => jobs.get(name)),
  );
  const { exclusion } = await ada.exclusions.excludeFromReuse(order);
  t.deepEqual(exclusion?.target.value, {
    $typeName: 'memoir.jobs.v1.CommitRangeTarget',
    repository: 'project',
    introducedBy: git('rev-parse', 'fault'),
    fixedBy: git('rev-parse', 'mended'),
  });
  const reused: string[] = [];
  for (const [name, uuid] of jobs) {
    const again = await find(ada, { scriptVersion: name, scriptParameters: { test, name } });
    if (again.reused && uuidOf(again) === uuid) reused.push(name);
    else
      t.regex(
        firstCandidate(again).detail,
        /of the commits of "project" from [0-9a-f]{40} until [0-9a-f]{40}: "rounds the wrong way"$/,
      );
  }
  t.deepEqual(reused, ['base', 'beside', 'mended', 'after']);
  // Commits that nobody had made when the range was excluded.
  for (const [branch, inRange] of [
    ['topic', true],
    ['after', false],
  ] as const) {
    git('checkout', '--quiet', branch);
    const later = commit({ later: branch });
    await complete(bob, uuidOf(await request(ada, { scriptVersion: later, scriptParameters: { test, later } })));
    t.is((await find(ada, { scriptVersion: later, scriptParameters: { test, later } })).reused, !inRange, branch);
  }
  // The refs that named the range may move or go.
  git('checkout', '--quiet', 'base');
  git('branch', '--quiet', '--force', 'fault', 'mended');
  t.is(
    firstCandidate(await explain({ scriptVersion: 'topic~1', scriptParameters: { test, name: 'topic' } })).rule,
    'EXCLUDED',
  );
  git('checkout', '--quiet', 'main');
});

/** base - fault - topic, merged into beside as merged; mended after that, after behind it; beside has no fault. */
function makeBranches() {
  const { git, commit } = project.repository;
  const branch = (name: string, from: string) => {
    git('checkout', '--quiet', '-b', name, from);
    commit({ [name]: name });
  };
  branch('base', 'main');
  branch('fault', 'base');
  branch('topic', 'fault');
  branch('beside', 'base');
  git('checkout', '--quiet', '-b', 'merged', 'beside');
  git('merge', '--quiet', '--no-ff', '-m', 'merge', 'topic');
  branch('mended', 'merged');
  branch('after', 'mended');
  return { git, commit };
}

function explain(more: object) {
  return ada.jobs.explainReuse({
    request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', ...more },
  });
}

test('an output that is lost is excluded once, and is back when it was found', async (t) => {
  const made = await find(ada, { scriptParameters: { test: 'lost' } });
  await complete(bob, uuidOf(made), 'sha256:lost');
  const report = { output: 'sha256:lost', reason: 'disk 7 died' };
  const { exclusionId, jobCount, consistencyToken } = await ada.exclusions.reportOutputLost(report);
  t.is(jobCount, 1);
  const again = await ada.exclusions.reportOutputLost({ ...report, reason: 'seen again' });
  t.is(again.exclusionId, exclusionId);
  const listed = await ada.exclusions.listExclusions({ consistencyToken });
  const mine = listed.exclusions.find(({ exclusion }) => exclusion?.id === exclusionId);
  t.like(mine, {
    reinstated: false,
    exclusion: { id: exclusionId, outputLost: true, reason: 'disk 7 died', excludedBy: 'ada' },
  });
  const next = await explain({ scriptParameters: { test: 'lost' } });
  t.is(
    firstCandidate(next).detail,
    `it is under exclusion ${exclusionId} of output "sha256:lost": the output is lost: "disk 7 died"`,
  );
  await ada.exclusions.reinstateForReuse({ id: exclusionId, reason: 'found' });
  t.true((await find(ada, { scriptParameters: { test: 'lost' } })).reused);
});

test('what is wrong is refused, naming it, and nothing is recorded', async (t) => {
  const { exclusions } = ada;
  const reason = 'r';
  const absent = '00000000-0000-5000-8000-000000000000';
  const job = (value: string) => ({ case: 'jobUuid', value }) as const;
  const commit = (commit: string, repository = 'project') =>
    ({ case: 'commit', value: { repository, commit } }) as const;
  const cases: [call: () => Promise<unknown>, refusal: Refusal][] = [
    [() => exclusions.excludeFromReuse({ reason }), { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'target' }],
    [
      () => exclusions.excludeFromReuse({ target: job(absent) }),
      { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'reason' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: job(absent), reason: ' \n' }),
      { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'reason' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: job(absent), reason: 'x'.repeat(4097) }),
      { code: 'INVALID_ARGUMENT', reason: 'TOO_LONG', field: 'reason', naming: '4097' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: job('x'), reason }),
      { code: 'INVALID_ARGUMENT', reason: 'BAD_UUID', field: 'job_uuid', naming: '"x"' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: job(absent), reason }),
      { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: absent },
    ],
    [
      () => exclusions.excludeFromReuse({ target: job(absent), reason, maxHits: 10_001 }),
      { code: 'INVALID_ARGUMENT', reason: 'OUT_OF_RANGE', field: 'max_hits', naming: '10001' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: commit('nope'), reason }),
      { code: 'INVALID_ARGUMENT', reason: 'UNRESOLVABLE_REFSPEC', field: 'commit.commit', naming: '"nope"' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: commit('--help', 'nope'), reason }),
      { code: 'INVALID_ARGUMENT', reason: 'UNKNOWN_REPOSITORY', field: 'repository', naming: '"nope"' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: rangeOf('main', 'nope'), reason }),
      { code: 'INVALID_ARGUMENT', reason: 'UNRESOLVABLE_REFSPEC', field: 'commit_range.fixed_by', naming: '"nope"' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: rangeOf('main', 'main~1'), reason }),
      { code: 'INVALID_ARGUMENT', reason: 'EMPTY_RANGE', field: 'commit_range.fixed_by', naming: '"main~1"' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: rangeOf('main', 'main'), reason, dryRun: true }),
      { code: 'INVALID_ARGUMENT', reason: 'EMPTY_RANGE', field: 'commit_range.fixed_by' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: { case: 'output', value: '' }, reason }),
      { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'output' },
    ],
    [
      () => exclusions.excludeFromReuse({ target: { case: 'dockerImageLocator', value: 'x'.repeat(1025) }, reason }),
      { code: 'INVALID_ARGUMENT', reason: 'TOO_LONG', field: 'docker_image_locator' },
    ],
    [
      () => exclusions.reportOutputLost({ output: 'sha256:never', reason }),
      { code: 'NOT_FOUND', reason: 'OUTPUT_NOT_FOUND', naming: 'sha256:never' },
    ],
    [
      () => exclusions.reinstateForReuse({ id: absent, reason }),
      { code: 'NOT_FOUND', reason: 'EXCLUSION_NOT_FOUND', naming: absent },
    ],
    [
      () => exclusions.reinstateForReuse({ id: 'x', reason }),
      { code: 'INVALID_ARGUMENT', reason: 'BAD_UUID', field: 'id' },
    ],
    [
      () => exclusions.listExclusions({ pageSize: 1001 }),
      { code: 'INVALID_ARGUMENT', reason: 'OUT_OF_RANGE', field: 'page_size' },
    ],
    [
      () => exclusions.listExclusions({ pageToken: 'x' }),
      { code: 'INVALID_ARGUMENT', reason: 'BAD_TOKEN', field: 'page_token' },
    ],
    [
      () => exclusions.listExclusions({ consistencyToken: '999999999' }),
      { code: 'INVALID_ARGUMENT', reason: 'BAD_TOKEN', field: 'consistency_token' },
    ],
  ];
  for (const [call, refusal] of cases) await refused(t, server, call, refusal);
  const target = { case: 'output', value: 'sha256:twice' } as const;
  const { exclusion } = await exclusions.excludeFromReuse({ target, reason });
  const lift = { id: exclusion?.id ?? '', reason: 'a mistake' };
  await exclusions.reinstateForReuse(lift);
  // The same call again, as after a lost answer, is answered as the first time.
  const lifted = await server.end();
  await exclusions.reinstateForReuse(lift);
  t.is(await server.end(), lifted);
  await refused(t, server, () => exclusions.reinstateForReuse({ id: exclusion?.id ?? '', reason }), {
    code: 'FAILED_PRECONDITION',
    reason: 'EXCLUSION_LIFTED',
    naming: '"a mistake"',
  });
});

test('the list goes page by page, the newest first, by repository, with lifted ones if asked for', async (t) => {
  const other = await startTestServer({ repositories: { project: project.repository.path } });
  const { exclusions } = other.as('ada');
  const ids: string[] = [];
  for (let i = 0; i < 7; i++) {
    const { exclusion } = await exclusions.excludeFromReuse({
      target: { case: 'output', value: `o${i}` },
      reason: 'r'.repeat(4096),
    });
    ids.unshift(exclusion?.id ?? '');
  }
  const of = await exclusions.excludeFromReuse({
    target: { case: 'commit', value: { repository: 'project', commit: 'main' } },
    reason: 'r',
  });
  const { consistencyToken } = await exclusions.reinstateForReuse({ id: ids[2] ?? '', reason: 'lifted' });
  const idsOf = ({ exclusions: listed }: Awaited<ReturnType<typeof exclusions.listExclusions>>) =>
    listed.map(({ exclusion }) => exclusion?.id ?? '');
  const first = await exclusions.listExclusions({ consistencyToken, pageSize: 3, includeReinstated: true });
  t.deepEqual(idsOf(first), [of.exclusion?.id ?? '', ids[0] ?? '', ids[1] ?? '']);
  await exclusions.excludeFromReuse({ target: { case: 'output', value: 'new' }, reason: 'r' });
  const second = await exclusions.listExclusions({
    pageSize: 5,
    includeReinstated: true,
    pageToken: first.nextPageToken,
  });
  t.deepEqual(idsOf(second), ids.slice(2));
  t.is(second.nextPageToken, '');
  t.like(second.exclusions[0], { reinstated: true, reinstatedReason: 'lifted' });
  t.false(idsOf(await exclusions.listExclusions({})).includes(ids[2] ?? ''));
  t.deepEqual(idsOf(await exclusions.listExclusions({ repository: 'project' })), [of.exclusion?.id]);
  t.deepEqual(idsOf(await exclusions.listExclusions({ repository: 'no' })), []);
  await other.dispose();
});

test('exclusions stand after a restart and after the read model was lost, and 50 callers at once order one', async (t) => {
  const other = await startTestServer({ repositories: { project: project.repository.path } });
  const [eve, bill] = [other.as('eve'), other.as('bill')];
  const giver = await find(eve, { scriptParameters: { test: 'giver' } });
  await complete(bill, uuidOf(giver), 'sha256:given');
  const taker = await find(eve, { scriptParameters: { x: 'sha256:given' } });
  const order = {
    target: { case: 'commit', value: { repository: 'project', commit: 'main' } },
    cascade: true,
    reason: 'r',
  } as const;
  const all = await Promise.all(Array.from({ length: 50 }, () => eve.exclusions.excludeFromReuse(order)));
  t.is(new Set(all.map(({ exclusion }) => exclusion?.id)).size, 1);
  const outputOrder = { target: { case: 'output', value: 'sha256:given' }, cascade: true, reason: 'r' } as const;
  const { exclusion } = await eve.exclusions.excludeFromReuse(outputOrder);
  await eve.exclusions.reinstateForReuse({ id: all[0]?.exclusion?.id ?? '', reason: 'only the output' });
  for (const lose of [false, true]) {
    await other.stop();
    if (lose) loseReadModel(other.config);
    await other.restart();
    const { decision } = await other.as('eve').jobs.explainReuse({
      request: {
        repository: 'project',
        script: 'run.sh',
        scriptVersion: 'main',
        scriptParameters: { x: 'sha256:given' },
      },
    });
    t.is(decision?.candidates[0]?.uuid, uuidOf(taker));
    t.regex(
      decision?.candidates[0]?.detail ?? '',
      new RegExp(`of job ${uuidOf(giver)}, which is under exclusion ${exclusion?.id}`),
    );
  }
  await other.dispose();
});
