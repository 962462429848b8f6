import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import { runMemoir } from '../support/command.js';
import { makeRepository } from '../support/git-repository.js';
import { failure } from '../support/refused.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';
import { workOnce } from '../support/worker.js';

const script = [
  '#!/bin/sh',
  'cp "$MEMOIR_PARAMETERS" "$MEMOIR_OUTPUT/parameters"',
  'test -z "$MEMOIR_UNHASHED" || cat "$MEMOIR_UNHASHED"',
].join('\n');
const repository = makeRepository();
const oldCommit = repository.commit({ 'run.sh': `${script}\n# old\n` });
repository.git('branch', 'old');
repository.commit({ 'run.sh': script });
const directory = mkdtempSync(join(tmpdir(), 'memoir-superseding-'));
const policy = join(directory, 'policy.toml');
const grants = [
  ['ada', 'admin'],
  ['bob', 'submitter", "worker'],
  ['eve', 'submitter'],
];
writeFileSync(
  policy,
  grants.map(([who, roles]) => `[[grants]]\nto=["${who}"]\nroles=["${roles}"]\nrepositories=["project"]\n`).join(''),
);
let ahead = 0;
const server = serverOfFile({
  edge: { ...systemEdge, now: () => systemEdge.now() + ahead },
  settings: {
    policy,
    repositories: { project: { path: repository.path } },
    unhashed_parameters: [{ repository: 'pro*', script: '**', names: ['threads', 'verbose', 'deep'] }],
  },
});
const [ada, bob, eve] = [server.as('ada'), server.as('bob'), server.as('eve')];
test.after.always(() => {
  repository.dispose();
  rmSync(directory, { recursive: true });
});

const own = (name: string, more: object = {}) => ({ scriptParameters: { test: name }, ...more });
const rulesOf = ({ decision }: Pick<CreateJobResponse, 'decision'>) =>
  decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]);
const supersede = { supersede: true };

test('a superseding run is the answer once it is complete, and no longer than it may be', async (t) => {
  const first = uuidOf(await find(bob, own('answer')));
  await complete(bob, first, 'sha256:wrong');
  const made = await find(ada, own('answer', supersede));
  t.false(made.reused);
  t.true(made.job?.supersede);
  t.deepEqual(rulesOf(made), ['SUPERSEDED']);
  const second = uuidOf(made);
  t.is(uuidOf(await find(eve, own('answer'))), first, 'while it is not complete');
  const joined = await find(ada, own('answer', { ...supersede, priority: 3 }));
  t.is(uuidOf(joined), second, 'an equal one is joined');
  t.true(joined.reused);
  await complete(bob, second, 'sha256:right');
  const after = await find(eve, own('answer'));
  t.is(uuidOf(after), second);
  t.deepEqual(rulesOf(after), ['SUPERSEDED', 'UNSPECIFIED']);
  t.is(after.decision?.candidates[0]?.detail, `${second}, which was asked for in its place, is Complete`);
  const third = await find(ada, own('answer', supersede));
  t.not(uuidOf(third), second, 'a complete one is superseded anew');
  await fail(bob, uuidOf(third));
  t.is(uuidOf(await find(eve, own('answer'))), second);
  await ada.exclusions.excludeFromReuse({ target: { case: 'jobUuid', value: second }, reason: 'wrong too' } as never);
  t.is(uuidOf(await find(eve, own('answer'))), first, 'excluded: the earlier one is back');
});

test('the two differ, and that keeps nothing from being reused; a run for another commit is not superseded', async (t) => {
  const old = uuidOf(await find(bob, own('commits', { scriptVersion: oldCommit })));
  await complete(bob, old, 'sha256:old');
  const newer = uuidOf(await find(ada, own('commits', supersede)));
  await complete(bob, newer, 'sha256:new');
  t.is(uuidOf(await find(eve, own('commits', { scriptVersion: oldCommit }))), old);
  t.deepEqual(rulesOf(await find(eve, own('commits', { minimumScriptVersion: oldCommit }))), [
    'OUTPUTS_DIFFER',
    'OUTPUTS_DIFFER',
  ]);
});

test('a retry of a superseding run supersedes; a check of it does not', async (t) => {
  const first = uuidOf(await find(bob, own('retry')));
  await complete(bob, first, 'sha256:first');
  const failed = uuidOf(await find(ada, own('retry', supersede)));
  await fail(bob, failed);
  const denied = await failure(t, () => bob.jobs.retryJob({ uuid: failed }));
  t.is(denied.code, status.PERMISSION_DENIED);
  const again = await ada.jobs.retryJob({ uuid: failed });
  t.true(again.job?.supersede);
  const retried = again.job?.uuid ?? '';
  await complete(bob, retried, 'sha256:second');
  t.is(uuidOf(await find(eve, own('retry'))), retried);
});

test('who may supersede, and with what it cannot be given', async (t) => {
  const refused = async (clients: typeof ada, more: object) => {
    const one = await failure(t, () => find(clients, own('refused', more)));
    return [status[one.code], one.reason, one.message] as const;
  };
  const [code, reason, message] = await refused(bob, supersede);
  t.deepEqual([code, reason], ['PERMISSION_DENIED', 'SUPERSEDE_DENIED']);
  t.regex(String(message), /"bob" may not supersede jobs of repository "project".*reuse\.supersede = "submitters"/);
  const explained = await failure(t, () =>
    bob.jobs.explainReuse({
      request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', ...supersede },
    }),
  );
  t.is(explained.reason, 'SUPERSEDE_DENIED');
  for (const [name, more] of Object.entries({
    filters: {
      filters: ['repository', 'script'].map((attribute) => ({
        attribute,
        operator: 'exists',
        operand: { kind: { case: 'boolValue', value: true } },
      })),
    },
    minimum_script_version: { minimumScriptVersion: 'v1' },
    max_result_age: { maxResultAge: { seconds: 1n } },
    nondeterministic: { nondeterministic: true },
  })) {
    const [, why, text] = await refused(ada, { ...supersede, ...more });
    t.is(why, 'BAD_OPTIONS', name);
    t.regex(String(text), new RegExp(`supersede and ${name} cannot be given together`));
  }
  const [, , negative] = await refused(ada, { maxResultAge: { seconds: -1n } });
  t.regex(String(negative), /max_result_age/);
});

test('an older answer than is accepted is passed over, and the decision says so', async (t) => {
  const first = uuidOf(await find(bob, own('age')));
  await complete(bob, first);
  ahead += 3_600_000;
  t.is(uuidOf(await find(eve, own('age', { maxResultAge: { seconds: 7_200n } }))), first);
  const newer = await find(eve, own('age', { maxResultAge: { seconds: 60n } }));
  t.deepEqual(rulesOf(newer), ['TOO_OLD']);
  t.regex(newer.decision?.candidates[0]?.detail ?? '', /^it completed at .*Z, accepted is .*Z or later$/);
  t.is(
    uuidOf(await find(bob, own('age', { maxResultAge: { seconds: 60n } }))),
    uuidOf(newer),
    'one that is not finished is new',
  );
  await complete(bob, uuidOf(newer));
  t.is(uuidOf(await find(eve, own('age'))), first);
});

test('unhashed parameters reach the script, are no part of the work, and are told and found', async (t) => {
  const first = await find(bob, own('unhashed', { unhashedParameters: { threads: 8, deep: { a: [1, 'x'] } } }));
  t.deepEqual(first.job?.unhashedParameters, { threads: 8, deep: { a: [1, 'x'] } });
  const again = await find(eve, own('unhashed', { unhashedParameters: { threads: 16 } }));
  t.is(uuidOf(again), uuidOf(first));
  t.is(uuidOf(await find(eve, own('unhashed'))), uuidOf(first));
  t.is(first.job?.computationDigest, again.job?.computationDigest);
  const listed = async (attribute: string, value: string | number) => {
    const operand =
      typeof value === 'number'
        ? { kind: { case: 'numberValue' as const, value } }
        : { kind: { case: 'stringValue' as const, value } };
    const { jobs } = await eve.jobs.listJobs({ filters: [{ attribute, operator: '=', operand }] });
    return jobs.map(({ uuid }) => uuid);
  };
  t.deepEqual(await listed('unhashed_parameters.threads', 8), [uuidOf(first)]);
  t.deepEqual(await listed('unhashed_parameters.deep.a.1', 'x'), [uuidOf(first)]);
  t.deepEqual(await listed('unhashed_parameters.threads', 16), []);
  // It is part of what a submit_id stands for.
  const sent = own('unhashed', { submitId: 'unhashed-1', unhashedParameters: { threads: 1 } });
  await find(bob, sent);
  await find(bob, sent);
  await t.throwsAsync(find(bob, { ...sent, unhashedParameters: { threads: 2 } }), { message: /unhashed-1/ });
  await workOnce({ address: server.address(), principal: 'bob', repository: ['project', repository.path] });
  const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'eve' };
  const told = await runMemoir(['get', uuidOf(first)], { env });
  t.regex(told.out, /state +Complete/);
  t.regex(told.out, /not hashed +\{"deep":\{"a":\[1,"x"\]\},"threads":8\}/);
  const said = await runMemoir(['output', 'log', uuidOf(first)], { env });
  t.regex(said.out, /\{"deep":\{"a":\[1,"x"\]\},"threads":8\}/);
});

test("which parameters may be left out is the configuration's, and none is an address or given twice", async (t) => {
  const refused = async (unhashedParameters: object, more: object = {}) => {
    const one = await failure(t, () => request(bob, own('none', { unhashedParameters, ...more })));
    return [status[one.code], one.reason, one.message] as const;
  };
  const [code, reason, message] = await refused({ threads: 1, seed: 4 });
  t.deepEqual([code, reason], ['INVALID_ARGUMENT', 'UNHASHED_NOT_ALLOWED']);
  t.regex(message, /"seed" of "run\.sh" in "project".*\[\[unhashed_parameters\]\]/);
  const address = `sha256:${'a'.repeat(64)}`;
  const [, unfit, where] = await refused({ deep: { in: [address] } });
  t.is(unfit, 'UNHASHED_ADDRESS');
  t.regex(where, /at "\/deep\/in\/0"/);
  const [, twice] = await refused({ threads: 1 }, { scriptParameters: { threads: 1 } });
  t.is(twice, 'BAD_PARAMETERS');
  const [, large] = await refused({ verbose: 'x'.repeat(70_000) });
  t.is(large, 'TOO_LONG');
  let nested: object = {};
  for (let i = 0; i < 60; i++) nested = { nested };
  const [, deep] = await refused({ deep: nested });
  t.is(deep, 'NESTED_TOO_DEEP');
});
