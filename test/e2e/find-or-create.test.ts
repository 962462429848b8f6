import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { ReadHistoryResponse } from '../../gen/memoir/history/v1/history_service_pb.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject(['other.sh', 'Run.sh', 'absent.sh']);
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
});

/** Parameters that no other test uses. */
const own = (name: string) => ({ scriptParameters: { test: name } });

/** What a decision says, in short: the outcome and each candidate with its rule. */
function decided({ decision }: Pick<CreateJobResponse, 'decision'>) {
  return {
    outcome: Outcome[decision?.outcome ?? -1],
    candidates: decision?.candidates.map(({ uuid, ruledOutBy }) => [uuid, Rule[ruledOutBy]]),
  };
}

const history = async (uuid: string): Promise<ReadHistoryResponse[]> => collect(ada.history.readHistory({ uuid }));

test('the same work under any name of its commit is one job', async (t) => {
  const abbreviation = project.first.slice(0, 7);
  const made = await find(ada, { scriptVersion: 'v1', ...own('names') });
  t.false(made.reused);
  t.is(made.job?.scriptVersion, project.first);
  t.is(made.job?.suppliedScriptVersion, 'v1');
  await complete(bob, uuidOf(made));
  for (const scriptVersion of [project.first, 'old', 'refs/heads/old', abbreviation, 'v1', 'refs/tags/v1', 'main~1']) {
    const again = await find(ada, { scriptVersion, ...own('names') });
    t.true(again.reused, scriptVersion);
    t.is(uuidOf(again), uuidOf(made), scriptVersion);
    t.is(again.job?.state, JobState.COMPLETE);
    t.is(again.job?.output, 'sha256:out');
  }
  const reuses = (await history(uuidOf(made))).filter(({ event }) => event?.event.case === 'jobReused');
  t.deepEqual(
    reuses.map(({ event }) => event?.event.case === 'jobReused' && event.event.value.suppliedScriptVersion),
    [project.first, 'old', 'refs/heads/old', abbreviation, 'v1', 'refs/tags/v1', 'main~1'],
  );
});

test('the order of names is irrelevant, everything else is not', async (t) => {
  const scriptParameters = { a: { x: 1, y: [1, 2, null] }, b: '1', é: true };
  const made = await find(ada, { scriptParameters });
  const same = await find(ada, { scriptParameters: { é: true, b: '1', a: { y: [1, 2, null], x: 1 } } });
  t.is(uuidOf(same), uuidOf(made));
  const others: Parameters<typeof find>[1][] = [
    { scriptParameters: { ...scriptParameters, b: 1 } },
    { scriptParameters: { ...scriptParameters, a: { x: 1, y: [2, 1, null] } } },
    { scriptParameters: { ...scriptParameters, a: { x: 1, y: [1, 2] } } },
    // The same letter composed of two characters is another name.
    { scriptParameters: { a: { x: 1, y: [1, 2, null] }, b: '1', 'e\u0301': true } },
    { scriptParameters: {} },
    { scriptParameters, script: 'other.sh' },
    { scriptParameters, script: 'Run.sh' },
  ];
  const uuids = new Set([uuidOf(made)]);
  for (const other of others) {
    const answer = await find(ada, other);
    t.false(answer.reused, JSON.stringify(other));
    t.is(answer.job?.runNumber, 1, JSON.stringify(other));
    uuids.add(uuidOf(answer));
  }
  t.is(uuids.size, others.length + 1);
});

test('another commit is run 2 of the same computation and names the rule', async (t) => {
  const first = await find(ada, { scriptVersion: 'old', ...own('commit') });
  await complete(bob, uuidOf(first));
  const second = await find(ada, { scriptVersion: 'main', ...own('commit') });
  t.false(second.reused);
  t.is(second.job?.runNumber, 2);
  t.is(second.job?.computationDigest, first.job?.computationDigest);
  t.deepEqual(decided(second), {
    outcome: 'CREATED_NO_MATCH',
    candidates: [[uuidOf(first), 'SCRIPT_VERSION']],
  });
  const detail = second.decision?.candidates[0]?.detail ?? '';
  t.true(detail.includes(project.first) && detail.includes(project.second), detail);
});

test('absent parameters are the same as none', async (t) => {
  const absent = await find(ada, { script: 'absent.sh' });
  const none = await find(ada, { script: 'absent.sh', scriptParameters: {} });
  t.is(uuidOf(none), uuidOf(absent));
});

test('failed, cancelled, nondeterministic and deleted jobs are never reused; the decision says which rule', async (t) => {
  const failed = uuidOf(await request(ada, own('never')));
  await fail(bob, failed);
  const cancelled = uuidOf(await request(ada, own('never')));
  await ada.jobs.cancelJob({ uuid: cancelled });
  const nondeterministic = uuidOf(await request(ada, { nondeterministic: true, ...own('never') }));
  await complete(bob, nondeterministic);
  const deleted = uuidOf(await request(ada, own('never')));
  await complete(bob, deleted);
  const { consistencyToken } = await ada.jobs.deleteJob({ uuid: deleted });
  await ada.jobs.listJobs({ consistencyToken });
  const made = await find(ada, own('never'));
  t.false(made.reused);
  t.is(made.job?.runNumber, 5);
  const expected = {
    outcome: 'CREATED_NO_MATCH',
    candidates: [
      [failed, 'STATE'],
      [cancelled, 'STATE'],
      [nondeterministic, 'NONDETERMINISTIC'],
      [deleted, 'DELETED'],
    ],
  };
  t.deepEqual(decided(made), expected);
  t.is(made.decision?.candidates[0]?.detail, 'it is Failed');
  t.is(
    made.decision?.summary,
    'a new job, since all 4 candidates of the same computation were ruled out: 2 by state, 1 by nondeterministic, 1 by deleted',
  );
  const [recorded] = await history(uuidOf(made));
  t.is(recorded?.event?.event.case, 'jobRequested');
  if (recorded?.event?.event.case === 'jobRequested') t.deepEqual(recorded.event.event.value.decision, made.decision);
  // The flag of the one who asks does not matter: it may reuse, it will not be reused.
  await complete(bob, uuidOf(made));
  t.is(uuidOf(await find(ada, { nondeterministic: true, ...own('never') })), uuidOf(made));
});

test('queued and running jobs are answers for whoever may read them', async (t) => {
  const adas = await find(ada, own('owner'));
  t.deepEqual(decided(await find(ada, own('owner'))), {
    outcome: 'REUSED_QUEUED',
    candidates: [[uuidOf(adas), 'UNSPECIFIED']],
  });
  t.deepEqual(decided(await find(bob, own('owner'))), {
    outcome: 'REUSED_QUEUED',
    candidates: [[uuidOf(adas), 'UNSPECIFIED']],
  });
  await bob.worker.claimJob({ uuid: uuidOf(adas) });
  t.is(decided(await find(server.as('cleo'), own('owner'))).outcome, 'REUSED_RUNNING');
  await bob.worker.completeJob({ uuid: uuidOf(adas), output: 'o', log: 'l' });
  t.is(uuidOf(await find(bob, own('owner'))), uuidOf(adas));
});

test('of unfinished jobs only those are answers that require the same labels of a worker', async (t) => {
  const labelled = await find(ada, { requiredLabels: { gpu: 'a100', zone: 'x' }, ...own('labels') });
  const other = await find(ada, own('labels'));
  t.deepEqual(decided(other), { outcome: 'CREATED_NO_MATCH', candidates: [[uuidOf(labelled), 'LABELS']] });
  t.is(uuidOf(await find(bob, { requiredLabels: { zone: 'x', gpu: 'a100' }, ...own('labels') })), uuidOf(labelled));
  await complete(bob, uuidOf(other));
  t.is(uuidOf(await find(bob, { requiredLabels: { zone: 'y' }, ...own('labels') })), uuidOf(other));
});

test('with share_unfinished = "owner" they are handed to their owner alone, complete ones to all', async (t) => {
  const settings = {
    reuse: { share_unfinished: 'owner' as const, supersede: 'admins' as const, trust_unstated_images: false },
  };
  const apart = await startTestServer({ repositories: { project: project.repository.path }, settings });
  t.teardown(() => apart.dispose());
  const [ada, bob] = [apart.as('ada'), apart.as('bob')];
  const adas = await find(ada, own('owner'));
  t.deepEqual(decided(await find(ada, own('owner'))), {
    outcome: 'REUSED_QUEUED',
    candidates: [[uuidOf(adas), 'UNSPECIFIED']],
  });
  const bobs = await find(bob, own('owner'));
  t.false(bobs.reused);
  t.deepEqual(decided(bobs), { outcome: 'CREATED_NO_MATCH', candidates: [[uuidOf(adas), 'OWNER']] });
  await bob.worker.claimJob({ uuid: uuidOf(adas) });
  t.is(decided(await find(ada, own('owner'))).outcome, 'REUSED_RUNNING');
  t.is(uuidOf(await find(bob, own('owner'))), uuidOf(bobs));
  await bob.worker.completeJob({ uuid: uuidOf(adas), output: 'o', log: 'l' });
  const found = await find(bob, own('owner'));
  t.is(uuidOf(found), uuidOf(adas));
  t.deepEqual(decided(found), {
    outcome: 'REUSED_COMPLETE',
    candidates: [
      [uuidOf(adas), 'UNSPECIFIED'],
      [uuidOf(bobs), 'NOT_PREFERRED'],
    ],
  });
});

test('complete is preferred to running to queued, and of each the oldest', async (t) => {
  const made: string[] = [];
  for (let i = 0; i < 6; i++) made.push(uuidOf(await request(ada, own('preferred'))));
  const [q1, q2, r1, r2, c1, c2] = made as [string, string, string, string, string, string];
  t.is(uuidOf(await find(ada, own('preferred'))), q1);
  await bob.worker.claimJob({ uuid: r2 });
  t.is(uuidOf(await find(ada, own('preferred'))), r2);
  await bob.worker.claimJob({ uuid: r1 });
  t.is(uuidOf(await find(ada, own('preferred'))), r1);
  await complete(bob, c2);
  t.is(uuidOf(await find(ada, own('preferred'))), c2);
  await complete(bob, c1);
  const found = await find(ada, own('preferred'));
  t.is(uuidOf(found), c1);
  t.deepEqual(decided(found).candidates, [
    [q1, 'NOT_PREFERRED'],
    [q2, 'NOT_PREFERRED'],
    [r1, 'NOT_PREFERRED'],
    [r2, 'NOT_PREFERRED'],
    [c1, 'UNSPECIFIED'],
    [c2, 'NOT_PREFERRED'],
  ]);
});

test('a complete job without output or without log is passed over', async (t) => {
  const noOutput = uuidOf(await request(ada, own('empty')));
  await complete(bob, noOutput, '', 'l');
  const noLog = uuidOf(await request(ada, own('empty')));
  await complete(bob, noLog, 'another', '');
  const made = await find(ada, own('empty'));
  t.false(made.reused);
  t.deepEqual(decided(made).candidates, [
    [noOutput, 'NO_OUTPUT'],
    [noLog, 'NO_LOG'],
  ]);
  // Neither counts as one that disagrees.
  await complete(bob, uuidOf(made), 'o', 'l');
  t.is(uuidOf(await find(ada, own('empty'))), uuidOf(made));
});

test('find_or_create=false always makes the next run', async (t) => {
  const first = await request(ada, own('asked'));
  await complete(bob, uuidOf(first));
  for (let run = 2; run <= 4; run++) {
    const next = await request(ada, own('asked'));
    t.false(next.reused);
    t.is(next.job?.runNumber, run);
    t.is(next.job?.state, JobState.QUEUED);
    t.deepEqual(decided(next), { outcome: 'CREATED_AS_ASKED', candidates: [] });
  }
});

test('of many candidates the decision holds 20 and their number, the answer always among them', async (t) => {
  const made: string[] = [];
  for (let i = 0; i < 25; i++) made.push(uuidOf(await request(ada, own('many'))));
  await complete(bob, made[24] as string);
  const { decision } = await find(ada, own('many'));
  t.is(decision?.candidateCount, 25);
  t.deepEqual(
    decision?.candidates.map(({ uuid }) => uuid),
    [...made.slice(0, 19), made[24]],
  );
});

test('what a worker has just reported counts at once', async (t) => {
  for (let i = 0; i < 20; i++) {
    const parameters = own(`at once ${i}`);
    const one = uuidOf(await request(ada, parameters));
    const other = uuidOf(await request(ada, parameters));
    await bob.worker.claimJob({ uuid: one });
    await bob.worker.claimJob({ uuid: other });
    await bob.worker.completeJob({ uuid: one, output: 'a', log: 'l' });
    t.is(uuidOf(await find(ada, parameters)), one);
    // The index may say for some milliseconds more that this one runs; by the log the outputs differ.
    await bob.worker.completeJob({ uuid: other, output: 'b', log: 'l' });
    const made = await find(ada, parameters);
    t.false(made.reused);
    t.deepEqual(decided(made).candidates, [
      [one, 'OUTPUTS_DIFFER'],
      [other, 'OUTPUTS_DIFFER'],
    ]);
  }
});

test('where outputs differ no complete job is reused, but a running one is', async (t) => {
  const one = uuidOf(await request(ada, own('differ')));
  await complete(bob, one, 'a');
  const other = uuidOf(await request(ada, own('differ')));
  await complete(bob, other, 'b');
  const made = await find(ada, own('differ'));
  t.false(made.reused);
  t.deepEqual(decided(made), {
    outcome: 'CREATED_NO_MATCH',
    candidates: [
      [one, 'OUTPUTS_DIFFER'],
      [other, 'OUTPUTS_DIFFER'],
    ],
  });
  t.regex(
    made.decision?.summary ?? '',
    /2 by outputs_differ\. To reuse one again, exclude .*\(memoir exclude UUID --reason TEXT\)/,
  );
  const detail = made.decision?.candidates[0]?.detail ?? '';
  for (const value of [one, other, '"a"', '"b"']) t.true(detail.includes(value), detail);
  t.is(uuidOf(await find(ada, own('differ'))), uuidOf(made));
});

test('with reuse_if_outputs_differ the oldest of the complete jobs is the answer', async (t) => {
  const lenient = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { reuse_if_outputs_differ: true },
  });
  t.teardown(() => lenient.dispose());
  const [cleo, dan] = [lenient.as('cleo'), lenient.as('dan')];
  const one = uuidOf(await request(cleo, own('differ')));
  const other = uuidOf(await request(cleo, own('differ')));
  await complete(dan, other, 'b');
  await complete(dan, one, 'a');
  const found = await find(cleo, own('differ'));
  t.is(uuidOf(found), one);
  t.deepEqual(decided(found).candidates, [
    [one, 'UNSPECIFIED'],
    [other, 'NOT_PREFERRED'],
  ]);
});

test('the answer of a reuse and the log tell the same decision, for the one who was answered', async (t) => {
  const made = await find(ada, { description: 'mine', priority: 3, ...own('log') });
  await complete(bob, uuidOf(made));
  const again = await find(bob, { description: 'not kept', priority: 9, submitId: 'bobs', ...own('log') });
  t.is(again.job?.description, 'mine');
  t.is(again.job?.priority, 3);
  t.is(again.job?.owner, 'ada');
  const events = await history(uuidOf(made));
  t.deepEqual(
    events.map(({ event }) => event?.eventType),
    ['JobRequested', 'JobStarted', 'JobCompleted', 'JobReused'],
  );
  const last = events.at(-1)?.event;
  t.is(last?.stream, `reuse-${uuidOf(made)}`);
  t.is(last?.metadata?.principal, 'bob');
  t.is(String(last?.position), again.consistencyToken);
  if (last?.event.case !== 'jobReused') return t.fail();
  const { decision, requestedBy, scriptVersion, submitId } = last.event.value;
  t.deepEqual(decision, again.decision);
  t.deepEqual([requestedBy, scriptVersion, submitId], ['bob', project.second, 'bobs']);
});

const labelled = (name: string, operator: string, value: unknown) => ({
  attribute: `labels.${name}`,
  operator,
  operand: fromJson(ValueSchema, value as JsonValue),
});

test('labels are what jobs are found by, can be changed, and do not matter for reuse', async (t) => {
  const made: string[] = [];
  for (let n = 0; n < 7; n++) {
    const labels = { team: n % 2 === 0 ? 'even' : 'odd', 'study/2026': String(n) };
    made.push(uuidOf(await find(ada, { scriptParameters: { test: 'labels', n }, labels })));
  }
  const again = await find(ada, { scriptParameters: { test: 'labels', n: 0 }, labels: { team: 'other' } });
  t.true(again.reused);
  t.deepEqual(again.job?.labels, { team: 'even', 'study/2026': '0' });

  const listed = async (filters: ReturnType<typeof labelled>[], orderBy = '', pageSize = 3) => {
    const uuids: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await ada.jobs.listJobs({ filters, orderBy, pageSize, pageToken });
      uuids.push(...page.jobs.map(({ uuid }) => uuid));
      pageToken = page.nextPageToken;
      if (pageToken === '') return uuids;
    }
  };
  const even = [0, 2, 4, 6].map((n) => made[n] as string);
  t.deepEqual(await listed([labelled('team', '=', 'even')], 'created_at'), even);
  t.deepEqual(await listed([labelled('team', '=', 'even')]), [...even].reverse());
  t.deepEqual(await listed([labelled('team', 'in', ['even', 'none'])]), [...even].reverse());
  t.deepEqual(await listed([labelled('"study/2026"', '=', '3'), labelled('team', '=', 'odd')]), [made[3]]);
  t.deepEqual(await listed([labelled('team', '=', 'even'), labelled('"study/2026"', '!=', '4')], 'created_at'), [
    ...even.filter((uuid) => uuid !== made[4]),
  ]);

  const before = await ada.jobs.getJob({ uuid: made[2] as string });
  const change = { job: { uuid: made[2] as string, labels: { team: 'odd' } }, updateMask: { paths: ['labels'] } };
  const { job } = await ada.jobs.updateJob(change);
  t.deepEqual(job?.labels, { team: 'odd' });
  t.deepEqual(await listed([labelled('team', '=', 'even')], 'created_at'), [made[0], made[4], made[6]]);
  t.deepEqual(await listed([labelled('team', '=', 'odd')], 'created_at'), [made[1], made[2], made[3], made[5]]);
  const asOf = { moment: { case: 'position' as const, value: await positionOf(made[2] as string) } };
  const then = await ada.jobs.listJobs({ filters: [labelled('team', '=', 'even')], orderBy: 'created_at', asOf });
  t.deepEqual(
    then.jobs.map(({ uuid }) => uuid),
    [made[0], made[2]],
  );
  t.deepEqual(then.jobs[1]?.labels, before.job?.labels);

  // Another request's labels are told to who made it, and to nobody else.
  const reuses = async (reader: typeof ada) =>
    (await collect(reader.history.readHistory({ uuid: made[0] as string }))).flatMap(({ event }) =>
      event?.event.case === 'jobReused' ? [event.event.value.labels] : [],
    );
  t.deepEqual(await reuses(ada), [{ team: 'other' }]);
});

test('labels that are none are refused by name', async (t) => {
  const wrong: [Record<string, string>, RegExp][] = [
    [{ '': 'x' }, /the name "" is not 1 to 63/],
    [{ '-team': 'x' }, /the name "-team" is not/],
    [{ 'te am': 'x' }, /the name "te am" is not/],
    [{ tëam: 'x' }, /the name "tëam" is not/],
    [{ ['n'.repeat(64)]: 'x' }, /is not 1 to 63/],
    [{ team: 'v'.repeat(257) }, /the value of "team", .* has 257 bytes, and 256 is the limit/],
    [Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`l${n}`, ''])), /has 65 members, and 64 is the limit/],
  ];
  for (const [labels, message] of wrong) {
    const error = await t.throwsAsync(find(ada, { labels, ...own('bad labels') }));
    t.regex(error?.message ?? '', message);
    t.like(error, { fields: ['labels'] });
  }
  const most = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`l${n}`.padEnd(63, 'x'), 'v'.repeat(256)]));
  t.deepEqual((await find(ada, { labels: most, ...own('most labels') })).job?.labels, most);
  const uuid = uuidOf(await find(ada, own('to label')));
  const change = { job: { uuid, labels: { '.': '' } }, updateMask: { paths: ['labels'] } };
  t.like(await t.throwsAsync(ada.jobs.updateJob(change)), { fields: ['job.labels'], reason: 'BAD_LABEL' });
});

/** Position of a job's JobRequested. */
async function positionOf(uuid: string): Promise<bigint> {
  for await (const { event } of ada.history.readHistory({ uuid })) if (event) return event.position;
  throw new Error(`job ${uuid} has no history`);
}
