import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { audited } from '../audit/scene.js';
import { runMemoir } from '../support/command.js';
import { makeRepository } from '../support/git-repository.js';
import { filesOf, writeTrees } from '../support/git-trees.js';
import { failure } from '../support/refused.js';
import { complete, fail, find, plenty, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';
import { workOnce } from '../support/worker.js';

const repository = makeRepository({ bare: true });
const script = 'analysis/run.sh';
const shown = [
  '#!/bin/sh',
  '{ env | sed -n "s/^\\(MEMOIR_CODE_DIGEST\\|MEMOIR_SCRIPT_VERSION\\)=/\\1 /p"; find . -printf "%y %P\\n" | sort; git log -1 2>&1 || true; } > "$MEMOIR_OUTPUT/seen"',
].join('\n');
const commits = writeTrees(repository, [
  filesOf({ 'README.md': 'one', 'lib/x': '1', 'lib/y/z': '1', [script]: shown, 'other.sh': '#!/bin/sh\n' }),
  filesOf({ 'README.md': 'two' }),
  filesOf({ 'lib/y/z': '2' }),
  filesOf({ 'lib/y/z': '1' }),
  [{ path: 'lib/up', mode: '120000', content: '../README.md' }],
]);
const [base, readme, changed, reverted, leaving] = commits as [string, string, string, string, string];
repository.git('branch', 'main', leaving);
repository.git('symbolic-ref', 'HEAD', 'refs/heads/main');
const reworded = repository.git('commit-tree', '-m', 'in other words', `${base}^{tree}`);
repository.git('branch', 'reworded', reworded);

const directory = mkdtempSync(join(tmpdir(), 'memoir-code-'));
const policy = join(directory, 'policy.toml');
const grants = [
  ['ada', 'admin', '**'],
  ['bob', 'admin', '**'],
  ['eve', 'submitter', 'project'],
];
writeFileSync(
  policy,
  grants
    .map(([who, role, where]) => `[[grants]]\nto=["${who}"]\nroles=["${role}"]\nrepositories=["${where}"]\n`)
    .join(''),
);
const { path } = repository;
const server = serverOfFile({
  settings: {
    policy,
    repositories: { project: { path }, defaulted: { path, code_paths: ['analysis', 'lib'] } },
  },
});
const ada = server.as('ada');
const bob = server.as('bob');
const eve = server.as('eve');

test.after.always(() => {
  repository.dispose();
  rmSync(directory, { recursive: true });
});

const codePaths = ['analysis', 'lib'];
/** Parameters that no other test uses. */
const own = (name: string) => ({ script, scriptParameters: { test: name } });
const asked = (name: string, scriptVersion: string, more: object = {}) => ({
  ...own(name),
  scriptVersion,
  codePaths,
  ...more,
});
const rulesOf = ({ decision }: Pick<CreateJobResponse, 'decision'>) =>
  decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]);
const filter = (attribute: string, operator: string, value: string) => ({
  attribute,
  operator,
  operand: { kind: { case: 'stringValue' as const, value } },
});
const ofRun = [filter('repository', '=', 'project'), filter('script', '=', script)];

test('the same code is the same work in every commit, and another part of it is not', async (t) => {
  const first = await find(ada, asked('same', base));
  t.false(first.reused);
  t.deepEqual(first.job?.codePaths, codePaths);
  t.regex(first.job?.codeDigest ?? '', /^[0-9a-f]{64}$/);
  await complete(bob, uuidOf(first));
  for (const commit of [base, readme, reverted, reworded]) {
    const again = await find(ada, asked('same', commit, { codePaths: ['./lib/', 'analysis'] }));
    t.is(uuidOf(again), uuidOf(first), commit);
    t.regex(again.decision?.summary ?? '', new RegExp(`is the same work: the same code at .* of commit ${base}$`));
  }
  const other = await find(ada, asked('same', changed));
  t.deepEqual(rulesOf(other), ['SCRIPT_VERSION']);
  t.is(other.job?.runNumber, 2);
  t.not(other.job?.codeDigest, first.job?.codeDigest);
  await complete(bob, uuidOf(other), 'sha256:other');
  // Two codes, two outputs: neither keeps the other from being reused.
  t.is(uuidOf(await find(ada, asked('same', readme))), uuidOf(first));
  const part = await find(ada, asked('same', base, { codePaths: ['analysis'] }));
  t.deepEqual(rulesOf(part), ['CODE_PATHS', 'CODE_PATHS']);
  const whole = await find(ada, { ...own('same'), scriptVersion: base });
  t.deepEqual(rulesOf(whole), ['CODE_PATHS', 'CODE_PATHS', 'CODE_PATHS']);
  t.is(whole.job?.codeDigest, '');
  const all = await find(ada, asked('same', base, { codePaths: ['.'] }));
  t.deepEqual(rulesOf(all)?.at(-1), 'CODE_PATHS');
  t.is(uuidOf(await find(ada, asked('same', reworded, { codePaths: ['.'] }))), uuidOf(all));
  t.not(uuidOf(await find(ada, asked('same', readme, { codePaths: ['.'] }))), uuidOf(all));
  t.is(uuidOf(await find(ada, { ...own('same'), scriptVersion: base })), uuidOf(whole));
  // The order of paths is not another request.
  const sent = { submitId: 'code-1', ...asked('same', readme) };
  await find(ada, sent);
  t.is(uuidOf(await find(ada, { ...sent, codePaths: ['lib', 'analysis'] })), uuidOf(first));
  await t.throwsAsync(find(ada, { ...sent, codePaths: ['analysis'] }), { message: /code-1/ });
});

test('ranges and filters accept the same code too, and what is excluded stays out by its code', async (t) => {
  const first = await find(ada, asked('ranges', base));
  await complete(bob, uuidOf(first));
  const at = (scriptVersion: string, more: object) => find(ada, asked('ranges', scriptVersion, more));
  t.is(uuidOf(await at(changed, { minimumScriptVersion: base })), uuidOf(first));
  // By its code, from a commit before the range.
  t.is(uuidOf(await at(reverted, { minimumScriptVersion: changed })), uuidOf(first));
  const excluded = await ada.jobs.explainReuse({
    request: { repository: 'project', ...asked('ranges', reverted, { excludeScriptVersions: [readme] }) },
  });
  t.deepEqual(rulesOf(excluded), ['SCRIPT_VERSION']);
  t.regex(
    excluded.decision?.candidates[0]?.detail ?? '',
    /whose code \w+ is that of a commit that the request excludes/,
  );
  t.is(uuidOf(await at(reverted, { excludeScriptVersions: [changed] })), uuidOf(first));
  t.is(uuidOf(await at(changed, { minimumScriptVersion: base, excludeScriptVersions: [changed] })), uuidOf(first));
  const filtered = (scriptVersion: string, ...more: ReturnType<typeof filter>[]) =>
    at(scriptVersion, { filters: [...ofRun, ...more] });
  t.is(uuidOf(await filtered(reverted, filter('script_version', 'in git', reverted))), uuidOf(first));
  const digest = first.job?.codeDigest ?? '';
  t.is(uuidOf(await filtered(changed, filter('code_digest', '=', digest))), uuidOf(first));
  const none = await filtered(reverted, filter('script_version', 'not in git', readme));
  t.deepEqual(rulesOf(none), ['FILTER']);
  t.is(none.job?.runNumber, 2);
  t.is(uuidOf(await filtered(reverted, filter('script_version', 'not in git', changed))), uuidOf(first));
  // It comes before filters: who asks for the whole commit gets no part.
  const whole = await find(ada, { ...own('ranges'), scriptVersion: base, filters: ofRun });
  t.deepEqual(rulesOf(whole), ['CODE_PATHS', 'CODE_PATHS']);
});

test('excluded commits stay excluded, and their code does not come back by others', async (t) => {
  const first = await find(ada, asked('excluded', base));
  await complete(bob, uuidOf(first));
  const exclude = async (commit: string) => {
    const target = { case: 'commit' as const, value: { repository: 'project', commit } };
    const { exclusion } = await ada.exclusions.excludeFromReuse({ target, reason: 'wrong' });
    return () => ada.exclusions.reinstateForReuse({ id: exclusion?.id ?? '', reason: 'right' });
  };
  const explained = (commit: string) =>
    ada.jobs.explainReuse({ request: { repository: 'project', ...asked('excluded', commit) } });
  const reinstate = await exclude(readme);
  const { decision } = await explained(readme);
  t.deepEqual(rulesOf({ decision }), ['EXCLUDED']);
  t.regex(
    decision?.candidates[0]?.detail ?? '',
    new RegExp(`^it has the code of commit ${readme}, which the request names, and it is under exclusion`),
  );
  // Commits that are not excluded are accepted for it as before.
  t.is((await explained(reverted)).job?.uuid, uuidOf(first));
  const made = await find(ada, asked('excluded', readme));
  t.false(made.reused);
  t.is(uuidOf(await find(ada, asked('excluded', reverted))), uuidOf(first));
  await reinstate();
  t.is((await explained(readme)).job?.uuid, uuidOf(first));
  const again = await exclude(base);
  t.deepEqual(rulesOf(await explained(reverted))?.[0], 'EXCLUDED');
  await again();
});

test('what cannot be code is refused by name, and nothing is recorded', async (t) => {
  const end = await server.end();
  const many = Array.from({ length: 65 }, (_, i) => `p${i}`);
  const cases: [more: object, reason: string, field: string, message: RegExp][] = [
    [{ codePaths: ['analysis', 'nothing'] }, 'BAD_CODE_PATH', 'code_paths', /"nothing" is not in commit \w+/],
    [{ codePaths: ['analysis', '../x'] }, 'BAD_CODE_PATH', 'code_paths[1]', /"..\/x" is no path inside a tree/],
    [{ codePaths: ['analysis', 'analysis/run.sh'] }, 'BAD_CODE_PATH', 'code_paths[1]', /is inside "analysis"/],
    [{ codePaths: ['analysis', 'README.md/x'] }, 'BAD_CODE_PATH', 'code_paths', /"README.md" is a file/],
    [{ codePaths: many }, 'TOO_MANY', 'code_paths', /65/],
    [{ codePaths: ['lib'] }, 'SCRIPT_NOT_IN_CODE_PATHS', 'script', /"analysis\/run.sh" is not in code_paths \("lib"\)/],
    [{ scriptVersion: leaving }, 'CODE_LINK_LEAVES', 'code_paths', /"lib\/up" is a symbolic link to "..\/README.md"/],
    [{ wholeCommit: true }, 'BAD_OPTIONS', 'whole_commit', /cannot be given together/],
    [
      { repository: 'defaulted', script: 'other.sh', codePaths: [] },
      'SCRIPT_NOT_IN_CODE_PATHS',
      'script',
      /"other.sh" is not in the code_paths that repository "defaulted" is configured with \("analysis", "lib"\)/,
    ],
  ];
  for (const [more, reason, field, message] of cases) {
    const of = { repository: 'project', ...asked('refused', base), ...more };
    for (const call of [() => ada.jobs.createJob(of), () => ada.jobs.explainReuse({ request: of })]) {
      const error = await failure(t, call);
      t.deepEqual([error.reason, error.fields], [reason, [field]], error.message);
      t.regex(error.message, message);
    }
  }
  // With what it leads to, the link stays in them.
  const request = { repository: 'project', ...asked('refused', leaving, { codePaths: [...codePaths, 'README.md'] }) };
  t.is((await ada.jobs.explainReuse({ request })).decision?.candidateCount, 0);
  t.is(await server.end(), end);
});

test('explanations name the objects, and the first path that differs', async (t) => {
  const first = await find(ada, asked('explained', base));
  const { decision } = await ada.jobs.explainReuse({
    request: { repository: 'project', ...asked('explained', changed) },
  });
  const oid = (name: string) => repository.git('rev-parse', name);
  t.deepEqual(
    decision?.resolutions.filter(({ field }) => field === 'code_paths').map(({ given, resolved }) => [given, resolved]),
    codePaths.map((one) => [one, `040000 ${oid(`${changed}:${one}`)}`]),
  );
  const [candidate] = decision?.candidates ?? [];
  t.is(candidate?.uuid, uuidOf(first));
  t.true(
    candidate?.detail.endsWith(
      `; "lib" is 040000 ${oid(`${base}:lib`)} there, and 040000 ${oid(`${changed}:lib`)} is accepted; the first path that differs is ` +
        `"lib/y/z": 100644 ${oid(`${base}:lib/y/z`)} there, 100644 ${oid(`${changed}:lib/y/z`)} accepted`,
    ),
    candidate?.detail,
  );
  const same = await ada.jobs.explainReuse({ request: { repository: 'project', ...asked('explained', readme) } });
  t.is(same.job?.uuid, uuidOf(first));
});

test('jobs with code paths are given to workers that know them alone, and see nothing else', async (t) => {
  const uuid = uuidOf(await find(ada, asked('run', readme)));
  const without = { ...plenty, codePaths: false };
  await t.throwsAsync(bob.worker.claimJob({ uuid, offer: without }), { message: /checkout of code paths alone/ });
  const unfit = await bob.worker.claimJob({ offer: without, repositories: ['project'] });
  t.true(unfit.job === undefined || unfit.job.codePaths.length === 0);
  await ada.jobs.updateJob({ job: { uuid, priority: 9 }, updateMask: { paths: ['priority'] } });
  await workOnce({ address: server.address(), principal: 'bob', repository: ['project', path] });
  const { job } = await ada.jobs.getJob({ uuid });
  t.is(job?.state, JobState.COMPLETE, job?.failureMessage);
  const said = await runMemoir(['output', 'cat', uuid, 'seen', '--server', server.address(), '--principal', 'ada']);
  const [digest, ...seen] = said.out.trimEnd().split('\n');
  t.is(digest, `MEMOIR_CODE_DIGEST ${job?.codeDigest}`);
  t.deepEqual(seen.slice(0, 7), ['d ', 'd analysis', 'd lib', 'd lib/y', 'f analysis/run.sh', 'f lib/x', 'f lib/y/z']);
  t.regex(seen.slice(7).join('\n'), /not a git repository|not found/);
  // By another commit it is the answer.
  t.is(uuidOf(await find(ada, asked('run', reverted))), uuid);
});

test('a retry keeps its code, and reads tell it, also of the past', async (t) => {
  const made = await find(ada, asked('retried', base));
  await fail(bob, uuidOf(made));
  const { job, consistencyToken } = await ada.jobs.retryJob({ uuid: uuidOf(made) });
  t.deepEqual([job?.codePaths, job?.codeDigest], [made.job?.codePaths, made.job?.codeDigest]);
  const digest = made.job?.codeDigest ?? '';
  const filters = [filter('code_digest', '=', digest), filter('script_parameters.test', '=', 'retried')];
  const { jobs } = await ada.jobs.listJobs({ consistencyToken, filters, orderBy: 'run_number' });
  t.deepEqual(
    jobs.map((one) => [one.uuid, one.codePaths, one.codeDigest]),
    [uuidOf(made), job?.uuid].map((uuid) => [uuid, codePaths, digest]),
  );
  const asOf = { moment: { case: 'position' as const, value: BigInt(await server.end()) } };
  const then = await ada.jobs.listJobs({ filters, asOf, orderBy: 'run_number' });
  t.deepEqual(
    then.jobs.map(({ codePaths: its, codeDigest }) => [its, codeDigest]),
    jobs.map(() => [codePaths, digest]),
  );
  const past = await ada.jobs.getJob({ uuid: job?.uuid ?? '', asOf });
  t.is(past.job?.codeDigest, digest);
  // The same work by another commit is the answer of a retry too.
  const other = await find(ada, asked('retried', changed));
  await fail(bob, uuidOf(other));
  t.not((await ada.jobs.retryJob({ uuid: uuidOf(other) })).job?.uuid, job?.uuid);
});

test('code is told of jobs and commits that the caller may read', async (t) => {
  const made = await find(ada, asked('told', base));
  const uuid = uuidOf(made);
  const oid = (name: string) => repository.git('rev-parse', name);
  const expected = codePaths.map((one) => ({ path: one, mode: '040000', oid: oid(`${base}:${one}`) }));
  for (const who of [ada, eve]) {
    const ofJob = await who.repositories.getCode({ uuid });
    t.like(ofJob, { commit: base, codeDigest: made.job?.codeDigest ?? '', objectFormat: 'sha1' });
    t.deepEqual(
      ofJob.entries.map(({ path: at, mode, oid: id }) => ({ path: at, mode, oid: id })),
      expected,
    );
    const byName = await who.repositories.getCode({
      repository: 'project',
      refspec: 'main~1',
      codePaths: ['lib', 'analysis'],
    });
    t.like(byName, { commit: reverted, codeDigest: made.job?.codeDigest ?? '' });
  }
  const all = await ada.repositories.getCode({ repository: 'project', refspec: base });
  t.deepEqual(
    all.entries.map(({ path: at, oid: id }) => [at, id]),
    [['.', oid(`${base}^{tree}`)]],
  );
  const defaulted = uuidOf(await find(ada, { repository: 'defaulted', ...own('told'), scriptVersion: base }));
  t.is((await ada.repositories.getCode({ uuid: defaulted })).codeDigest, made.job?.codeDigest ?? '');
  const cases: [call: () => Promise<unknown>, reason: string][] = [
    [() => eve.repositories.getCode({ uuid: defaulted }), 'JOB_NOT_FOUND'],
    [() => eve.repositories.getCode({ repository: 'defaulted', refspec: base }), 'UNKNOWN_REPOSITORY'],
    [() => eve.repositories.getCode({ repository: 'nothing', refspec: base }), 'UNKNOWN_REPOSITORY'],
    [
      () => ada.repositories.getCode({ repository: 'project', refspec: 'main', codePaths: ['lib'] }),
      'CODE_LINK_LEAVES',
    ],
    [() => ada.repositories.getCode({ uuid, codePaths: ['nothing'] }), 'BAD_CODE_PATH'],
    [() => ada.repositories.getCode({ uuid, repository: 'project' }), 'BAD_OPTIONS'],
    [() => ada.repositories.getCode({ repository: 'project' }), 'REQUIRED'],
    [() => ada.repositories.getCode({}), 'REQUIRED'],
  ];
  for (const [call, reason] of cases) t.is((await failure(t, call)).reason, reason);
});

test('requests that name no code paths have those of their repository, unless they want the whole commit', async (t) => {
  const of = { repository: 'defaulted', ...own('default') };
  const made = await find(ada, { ...of, scriptVersion: base });
  t.deepEqual(made.job?.codePaths, codePaths);
  t.deepEqual(
    made.decision?.resolutions.map(({ field, given, resolved }) => [field, given, resolved]),
    [['default_code_paths', 'analysis, lib', made.job?.codeDigest]],
  );
  await complete(bob, uuidOf(made));
  t.is(uuidOf(await find(ada, { ...of, scriptVersion: readme })), uuidOf(made));
  t.is(uuidOf(await find(ada, { ...of, scriptVersion: readme, codePaths })), uuidOf(made));
  const whole = await find(ada, { ...of, scriptVersion: base, wholeCommit: true });
  t.deepEqual([whole.job?.codePaths, rulesOf(whole)], [[], ['CODE_PATHS']]);
  const { repositories } = await ada.repositories.listRepositories({});
  t.deepEqual(
    repositories.map(({ name, codePaths: its }) => [name, its]),
    [
      ['defaulted', codePaths],
      ['project', []],
    ],
  );
});

test('commands name code paths and print them', async (t) => {
  const to = ['--server', server.address(), '--principal', 'ada'];
  const asking = ['--repository', 'project', '--script', script, '-p', 'test=command', ...to];
  const submit = (version: string) =>
    runMemoir(['submit', ...asking, '--script-version', version, '--code', 'analysis', '--code', 'lib/', '--json']);
  const [first, again] = [await submit(base), await submit(readme)].map(({ out, err }) => JSON.parse(out || err));
  t.is(again.job.uuid, first.job.uuid);
  t.true(again.reused);
  const { uuid } = first.job as { uuid: string };
  t.regex((await runMemoir(['get', uuid, ...to])).out, /^code paths +analysis, lib\ncode +[0-9a-f]{64}$/m);
  const code = await runMemoir(['code', uuid.slice(0, 8), ...to]);
  t.is(code.code, 0, code.err);
  const lines = code.out.trimEnd().split('\n');
  t.is(lines[0], `${first.job.code_digest} of commit ${base}`);
  t.is(lines.length, 4);
  t.is(lines[3], `040000  ${repository.git('rev-parse', `${base}:lib`)}  lib`);
  const named = await runMemoir(['code', readme, '--repository', 'project', 'lib', 'analysis', '--json', ...to]);
  t.is(JSON.parse(named.out).code_digest, first.job.code_digest);
  const wrong = await runMemoir(['submit', ...asking, '--code', 'lib']);
  t.regex(wrong.err, /SCRIPT_NOT_IN_CODE_PATHS/);
});

test('every decision comes out the same when it is taken again', async (t) => {
  const log = join(server.config.data_dir, 'events.sqlite');
  const { report, findings } = await audited(log, { project: path, defaulted: path });
  t.deepEqual(
    findings.map(({ position, why, differences }) => [position, why, differences]),
    [],
  );
  t.like(report, { differing: 0, underivable: 0 });
  t.true(report.same > 30, `${report.same}`);
});
