import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { FilterSchema } from '../../gen/memoir/jobs/v1/filter_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequestSchema, CreateJobsResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { CallError } from '../../src/rpc/call-error.js';
import { runMemoir } from '../support/command.js';
import { makeProject } from '../support/project.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';

type Request = MessageInitShape<typeof CreateJobRequestSchema>;

const project = makeProject();
const repository = { path: project.repository.path };
const server = serverOfFile({ repositories: { project: repository.path, secret: repository.path } });
const ada = server.as('ada');

test.after.always(() => {
  project.repository.dispose();
});

const whole = (more: Request): Request => ({
  repository: 'project',
  script: 'run.sh',
  scriptVersion: 'main',
  findOrCreate: true,
  ...more,
});
const many = (requests: readonly Request[]): Promise<CreateJobsResponse> =>
  ada.jobs.createJobs({ requests: [...requests] });
const uuids = ({ results }: CreateJobsResponse) => results.map(({ job }) => job?.uuid);
const count = async (test: string) => {
  const filters = [
    { attribute: 'script_parameters.test', operator: '=', operand: { kind: { case: 'stringValue', value: test } } },
  ];
  const { totalSize } = await ada.jobs.listJobs({ filters, countTotal: true } as never);
  return Number(totalSize);
};

test('each request is answered as CreateJob would, in their order', async (t) => {
  const own = (n: number) => ({ scriptParameters: { test: 'order', n } });
  const before = await find(ada, own(3));
  const answer = await many([0, 1, 2, 3, 4].map((n) => whole(own(n))));
  t.deepEqual(
    answer.results.map(({ reused }) => reused),
    [false, false, false, true, false],
  );
  t.is(answer.results[3]?.job?.uuid, uuidOf(before));
  t.deepEqual(
    answer.results.map(({ job }) => job?.scriptParameters),
    [0, 1, 2, 3, 4].map((n) => ({ test: 'order', n })),
  );
  t.is(answer.results[3]?.decision?.outcome, Outcome.REUSED_QUEUED);
  // The token is of all of them.
  const { consistencyToken } = answer;
  for (const uuid of uuids(answer))
    t.is((await ada.jobs.getJob({ uuid: uuid ?? '', consistencyToken })).job?.uuid, uuid);
  t.deepEqual(uuids(await many([4, 3, 2, 1, 0].map((n) => whole(own(n))))), uuids(answer).reverse());
});

test('of equal requests all are answered with the job of one', async (t) => {
  const answer = await many(Array.from({ length: 200 }, () => whole({ scriptParameters: { test: 'equal' } })));
  t.is(new Set(uuids(answer)).size, 1);
  t.is(answer.results.filter(({ reused }) => !reused).length, 1);
});

test('a request that cannot be answered has the error of a call with it alone, and the others are answered', async (t) => {
  const bad: Request[] = [
    { script: '' },
    { scriptVersion: 'no-such-branch' },
    { repository: 'unknown' },
    { script: 'absent.sh' },
    { submitId: 's'.repeat(257) },
    { filters: [{ attribute: 'state', operator: '~' }] },
    { maxHeartbeatAge: { seconds: -1n } },
  ].map((wrong) => whole({ scriptParameters: { test: 'bad' }, ...wrong } as Request));
  const requests = bad.flatMap((wrong, n) => [whole({ scriptParameters: { test: 'good', n } }), wrong]);
  const { results } = await many(requests);
  for (const [n, wrong] of bad.entries()) {
    t.truthy(results[2 * n]?.job, `the good one before ${n}`);
    const { error, job } = results[2 * n + 1] ?? {};
    const alone: CallError = await request(ada, wrong).then(
      () => t.fail(`${n} is not bad`) as never,
      (thrown: CallError) => thrown,
    );
    t.is(job, undefined);
    t.deepEqual(
      [error?.code, error?.reason, error?.message, error?.field, error?.metadata],
      [alone.code, alone.reason, alone.message, alone.fields[0] ?? '', { ...alone.metadata }],
    );
  }
  t.is(await count('good'), bad.length);
  t.is(await count('bad'), 0);
});

test('none and too many are refused, and nothing is recorded', async (t) => {
  const none: CallError = await t.throwsAsync(many([]));
  t.like(none, { code: status.INVALID_ARGUMENT, fields: ['requests'], reason: 'REQUIRED' });
  const one = whole({ scriptParameters: { test: 'too many' } });
  const tooMany: CallError = await t.throwsAsync(many(Array.from({ length: 1_001 }, () => one)));
  t.like(tooMany, { code: status.INVALID_ARGUMENT, fields: ['requests'], reason: 'TOO_MANY' });
  t.regex(tooMany.message, /1001/);
  t.is(await count('too many'), 0);
  t.is((await many(Array.from({ length: 1_000 }, () => one))).results.length, 1_000);
});

test('what is more than clients take is answered in short', async (t) => {
  const description = 'd'.repeat(60_000);
  const requests = Array.from({ length: 100 }, (_, n) => whole({ scriptParameters: { test: 'large', n } }));
  for (const from of [0, 50]) await many(requests.slice(from, from + 50).map((one) => ({ ...one, description })));
  const { results } = await many(requests);
  t.true(results.every(({ job, reused }) => job?.uuid && reused));
  const short = results.filter(({ shortened }) => shortened);
  t.true(short.length > 40 && short.length < 80, String(short.length));
  for (const { job, decision } of short) {
    t.is(job?.description, '');
    t.is(job?.revision, 0);
    t.is(decision?.outcome, Outcome.REUSED_QUEUED);
  }
  t.is(results[0]?.job?.description, description);
});

test('a request with a submit_id is answered as the first time, in another call too', async (t) => {
  const requests = [0, 1, 2].map((n) => whole({ scriptParameters: { test: 'again', n }, submitId: `again/${n}` }));
  const first = await many(requests.slice(0, 2));
  const second = await many(requests);
  t.deepEqual(uuids(second).slice(0, 2), uuids(first));
  t.deepEqual(
    second.results.map(({ decision }) => Outcome[decision?.outcome ?? 0]),
    ['RETRIED', 'RETRIED', 'CREATED_NO_MATCH'],
  );
});

const lines = (name: string, requests: readonly (Request | string)[]) => {
  const file = join(project.repository.path, `${name}.jsonl`);
  writeFileSync(file, requests.map((one) => `${typeof one === 'string' ? one : JSON.stringify(one)}\n`).join(''));
  return file;
};
const submit = (...args: string[]) =>
  runMemoir(['submit', '--server', server.address(), '--principal', 'ada', ...args]);

test('memoir submit --from sends a file of requests, and goes on with it by its batch', async (t) => {
  const requests = Array.from({ length: 250 }, (_, n) => ({ scriptParameters: { test: 'from', n: n % 240 } }));
  const file = lines('from', ['', ...requests, { script: 'absent.sh' }]);
  const given = ['--from', file, '--repository', 'project', '--script', 'run.sh', '--batch', 'nightly'];
  const said = await submit(...given);
  t.is(said.code, 2, said.err);
  t.is(await count('from'), 240);
  const told = said.out.trimEnd().split('\n');
  t.is(told.length, 250);
  t.regex(told[0] as string, /^line 2: new [0-9a-f-]{36} Queued$/);
  t.is(told.filter((line) => line.includes('reused')).length, 10);
  t.regex(said.err, /line 252: script "absent.sh".*\n251 requests: 240 new, 10 reused, 1 failed\n.*--batch nightly/);

  const again = await submit(...given, '--json');
  t.is(await count('from'), 240);
  const results = again.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.deepEqual(
    results.slice(0, 250).map(({ line, job }) => `line ${line}: ${job.uuid}`),
    told.map((line) => line.replace(/(new|reused) /, '').replace(/ Queued/, '')),
  );
  t.is(results[250].error.reason, 'SCRIPT_NOT_FOUND');
});

test('a file with a wrong line is refused whole, by its lines', async (t) => {
  const own = { repository: 'project', script: 'run.sh', scriptParameters: { test: 'wrong' } };
  const file = lines('wrong', [own, '{"script"', '[1]', '{"no_such":1}', '{"priority":1}', '{"a":1,"a":2}']);
  const said = await submit('--from', file);
  t.is(said.code, 2);
  t.is(said.out, '');
  for (const part of [
    '5 lines are wrong',
    'line 2: not JSON',
    'line 3: a request is',
    'line 4',
    'no_such',
    'line 5: it has no repository',
    'line 6',
    'twice',
  ])
    t.true(said.err.includes(part), `${part}: ${said.err}`);
  t.is(await count('wrong'), 0);
  for (const args of [
    ['--from', file, '--wait'],
    ['--from', '/no/such'],
    ['--batch', 'b', '--repository', 'project', '--script', 'run.sh'],
    ['--repository', 'project'],
  ]) {
    const refused = await submit(...args);
    t.is(refused.code, 2, args.join(' '));
    t.regex(refused.err, /--(wait|from|batch|script)/);
  }
});

const labelled = (value: string) =>
  create(FilterSchema, {
    attribute: 'labels.study',
    operator: '=',
    operand: create(ValueSchema, { kind: { case: 'stringValue', value } }),
  });
const states = async (uuids: readonly (string | undefined)[]) =>
  Promise.all(
    uuids.map(async (uuid) => {
      const { job } = await ada.jobs.getJob({ uuid: uuid ?? '' });
      return JobState[job?.state ?? 0];
    }),
  );
const study = async (name: string, n: number) =>
  uuids(
    await many(
      Array.from({ length: n }, (_, i) => whole({ scriptParameters: { test: name, i }, labels: { study: name } })),
    ),
  );

test('many jobs are cancelled, changed and deleted by filters, of them those for which it makes sense', async (t) => {
  const made = await study('steered', 5);
  await complete(server.as('worker'), made[0] as string);
  const selection = { filters: [labelled('steered')] };
  const dry = await ada.jobs.cancelJobs({ selection: { ...selection, dryRun: true, limit: 2 } });
  t.deepEqual([dry.outcomes.map(({ uuid }) => uuid), dry.matching], [made.slice(1, 3), 4n]);
  t.is(dry.consistencyToken, '');
  const tooMany: CallError = await t.throwsAsync(ada.jobs.cancelJobs({ selection: { ...selection, limit: 3 } }));
  t.like(tooMany, { reason: 'TOO_MANY_MATCH', metadata: { matching: '4', limit: '3' } });
  t.deepEqual(await states(made), ['COMPLETE', 'QUEUED', 'QUEUED', 'QUEUED', 'QUEUED']);

  const job = { priority: 7, labels: { study: 'steered', urgent: 'yes' } };
  const updated = await ada.jobs.updateJobs({ selection, job, updateMask: { paths: ['priority', 'labels'] } });
  t.deepEqual(
    [updated.outcomes.map(({ uuid, error }) => [uuid, error]), updated.matching],
    [made.slice(1).map((uuid) => [uuid, undefined]), 4n],
  );
  const { jobs } = await ada.jobs.listJobs({ filters: selection.filters, consistencyToken: updated.consistencyToken });
  t.deepEqual(
    jobs.map(({ priority, labels }) => [priority, labels.urgent]),
    [...Array(4).fill([7, 'yes']), [0, undefined]],
  );

  const cancelled = await ada.jobs.cancelJobs({ selection });
  t.deepEqual(cancelled.cancelledUuids, made.slice(1));
  t.deepEqual(await states(made), ['COMPLETE', 'CANCELLED', 'CANCELLED', 'CANCELLED', 'CANCELLED']);
  const deleted = await ada.jobs.deleteJobs({ selection });
  t.deepEqual([deleted.outcomes.map(({ uuid }) => uuid), deleted.matching], [made, 5n]);
  t.is(await count('steered'), 0);
});

test('of many jobs each has its own error, and what selects none or too much is refused', async (t) => {
  const [first, second] = await study('own errors', 2);
  await complete(server.as('worker'), first as string);
  const missing = '00000000-0000-4000-8000-000000000000';
  const { outcomes, cancelledUuids } = await ada.jobs.cancelJobs({
    selection: { uuids: [first, missing, second, second] as string[] },
  });
  t.deepEqual(
    outcomes.map(({ uuid, error }) => [uuid, error && status[error.code]]),
    [
      [first, 'FAILED_PRECONDITION'],
      [missing, 'NOT_FOUND'],
      [second, undefined],
    ],
  );
  t.deepEqual(cancelledUuids, [second]);

  const wrong: [Parameters<typeof ada.jobs.cancelJobs>[0], string][] = [
    [{}, 'selection'],
    [{ selection: {} }, 'selection'],
    [{ selection: { uuids: [missing], filters: [labelled('x')] } }, 'selection'],
    [{ selection: { uuids: ['x'] } }, 'selection.uuids[0]'],
    [{ selection: { uuids: Array(1_001).fill(missing) } }, 'selection.uuids'],
    [{ selection: { filters: [labelled('x')], limit: 1_001 } }, 'selection.limit'],
    [{ selection: { filters: [{ attribute: 'nothing', operator: '=' }] } }, 'filters[0].attribute'],
  ];
  for (const [request, field] of wrong) {
    const error: CallError = await t.throwsAsync(ada.jobs.cancelJobs(request), undefined, field);
    t.deepEqual([status[error.code], error.fields], ['INVALID_ARGUMENT', [field]]);
  }
});

test('memoir cancel, update and delete take many jobs', async (t) => {
  const made = await study('by hand', 4);
  const run = (...args: string[]) => runMemoir([...args, '--server', server.address(), '--principal', 'ada']);
  const filter = ['--filter', '["labels.study","=","by hand"]'];
  const dry = await run('cancel', ...filter, '--dry-run');
  t.is(dry.out, made.map((uuid) => `${uuid}\n`).join(''));
  t.is(dry.err, '4 jobs would be cancelled; nothing was done\n');
  t.regex((await run('cancel', ...filter, '--limit', '3')).err, /4 jobs match, and selection.limit allows 3/);
  t.is((await run('update', ...filter, '--priority', '3')).out, made.map((uuid) => `updated ${uuid}\n`).join(''));
  const two = await run('cancel', (made[0] as string).slice(0, 13), made[1] as string);
  t.is(two.out, `cancelled ${made[0]}\ncancelled ${made[1]}\n`);
  const mixed = await run('delete', made[0] as string, made[2] as string);
  t.deepEqual([mixed.code, mixed.out], [4, `deleted ${made[0]}\n`]);
  t.regex(mixed.err, new RegExp(`^${made[2]}: job .* is Queued`));
  const none = await run('delete');
  t.deepEqual([none.code, none.out], [2, '']);
  t.regex(none.err, /give uuids of jobs, or --filter/);
  t.is((await run('cancel', '--filter', '["labels.study","=","nobody\'s"]')).err, 'no job matches\n');
});
