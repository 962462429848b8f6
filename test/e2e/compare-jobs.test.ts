import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ava from 'ava';
import { CheckOutcome, DifferenceKind } from '../../gen/memoir/jobs/v1/check_pb.js';
import { ComparedPart } from '../../gen/memoir/jobs/v1/comparison_pb.js';
import { runMemoir } from '../support/command.js';
import { makeRepository } from '../support/git-repository.js';
import { refused } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { workOnce } from '../support/worker.js';

const repository = makeRepository();
const script = [
  '#!/bin/sh',
  'cd "$MEMOIR_OUTPUT"; mkdir d; echo same > d/same',
  'cat "$MEMOIR_PARAMETERS" > parameters',
].join('\n');
const first = repository.commit({ 'run.sh': script, 'lib/a.txt': 'one\ntwo\n', 'README.md': 'x\n' });
const second = repository.commit({
  'run.sh': script,
  'lib/a.txt': 'one\n2\nthree\n',
  'lib/new.txt': 'n\n',
  'README.md': 'y\n',
});
const dir = mkdtempSync(join(tmpdir(), 'memoir-compare-'));
const policy = join(dir, 'policy.toml');
const grants = [
  'ada submitter project',
  'eve reader project',
  'runner worker **',
  'root admin **',
  'fay submitter elsewhere',
]
  .map((grant) => grant.split(' '))
  .map(([to, role, of]) => `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`);
writeFileSync(policy, grants.join('\n'));
const server = serverOfFile({
  repositories: { project: repository.path, elsewhere: repository.path },
  settings: { policy },
});
const as = (name: string) => server.as(name);
const [ada, eve, root, fay] = ['ada', 'eve', 'root', 'fay'].map(as) as [Clients, Clients, Clients, Clients];
ava.after.always(() => {
  repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const run = () =>
  workOnce({ address: server.address(), principal: 'runner', repository: ['project', repository.path] });

const made = { a: '', b: '', c: '' };

test('two jobs are compared in all that was asked for, resolved, run, given and taken', async (t) => {
  made.a = uuidOf(await request(ada, { scriptVersion: first, scriptParameters: { n: 3 }, labels: { team: 'x' } }));
  const of = { scriptParameters: { n: 4, more: [1] }, priority: 5 };
  made.b = uuidOf(await request(ada, { scriptVersion: second, ...of, codePaths: ['.'] }));
  made.c = uuidOf(await request(ada, { scriptVersion: first, scriptParameters: { n: 3 }, labels: { team: 'x' } }));
  const pending = await eve.jobs.compareJobs({ a: made.a, b: made.b });
  t.is(pending.output?.outcome, CheckOutcome.PENDING);
  await run();
  const told = await eve.jobs.compareJobs({ a: made.a, b: made.b });
  t.false(told.same);
  t.deepEqual(
    told.differences
      .map(({ part, field, pointer, a, b }) => [ComparedPart[part], field + pointer, a, b])
      .filter(([part]) => part !== 'RUN'),
    [
      ['REQUEST', 'script_parameters/more', undefined, '[1]'],
      ['REQUEST', 'script_parameters/n', '3', '4'],
      ['REQUEST', 'code_paths/.', undefined, '"."'],
      ['REQUEST', 'priority', '0', '5'],
      ['REQUEST', 'labels/team', '"x"', undefined],
      ['RESOLUTION', 'supplied_script_version', `"${first}"`, `"${second}"`],
      ['RESOLUTION', 'script_version', `"${first}"`, `"${second}"`],
      ['RESOLUTION', 'code_digest', '""', told.differences.find(({ field }) => field === 'code_digest')?.b],
    ],
  );
  t.deepEqual(
    told.code?.changes.map(({ path, added, removed, aMode, bMode }) => [path, added, removed, aMode, bMode]),
    [
      ['README.md', 1, 1, '100644', '100644'],
      ['lib/a.txt', 2, 1, '100644', '100644'],
      ['lib/new.txt', 1, 0, '', '100644'],
    ],
  );
  t.like(told.code, { addedLines: 4n, removedLines: 2n, truncated: false, message: '' });
  t.like(told.output, { outcome: CheckOutcome.DIFFERENT, incomplete: false });
  t.deepEqual(
    told.output?.differences.map(({ path, kind, firstByte }) => [path, kind, firstByte]),
    [['parameters', DifferenceKind.BYTES, BigInt('{"'.length)]],
  );
  t.like(told.a, { uuid: made.a, owner: 'ada', attemptCount: 1 });
  t.truthy(told.a?.queued && told.a.ran && told.b?.ran);
  t.is(told.a?.attempts[0]?.worker, 'runner');

  const same = await eve.jobs.compareJobs({ a: made.a, b: made.c });
  t.true(same.same, JSON.stringify(same.differences));
  t.is(same.output?.outcome, CheckOutcome.SAME);
  t.true((await eve.jobs.compareJobs({ a: made.a, b: made.a })).same);
  const few = await eve.jobs.compareJobs({ a: made.a, b: made.b, maxDifferences: 1 });
  t.is(few.differences.length, 1);
  t.true(few.differencesTruncated);
  t.is(few.code?.changes.length, 1);
  t.true(few.code?.truncated);
});

test('inputs are compared by parameter, and opened for who may know of both', async (t) => {
  const { job: a } = await ada.jobs.getJob({ uuid: made.a });
  const { job: b } = await ada.jobs.getJob({ uuid: made.b });
  const taker = async (reads: string, more: string) =>
    uuidOf(await request(ada, { scriptVersion: first, scriptParameters: { reads, more, plain: 'p' } }));
  const [one, other] = [await taker(a?.output ?? '', a?.output ?? ''), await taker(b?.output ?? '', a?.output ?? '')];
  const told = await ada.jobs.compareJobs({ a: one, b: other });
  t.deepEqual(
    told.inputs.map(({ pointer, differences, message }) => [pointer, differences.map(({ path }) => path), message]),
    [['/reads', ['parameters'], '']],
  );
  t.is(told.inputs[0]?.a?.hash, a?.outputDigest?.hash);
  await ada.jobs.cancelJob({ uuid: one });
  await ada.jobs.cancelJob({ uuid: other });
});

test('what may not be read does not exist, and of what is one’s own elsewhere the code is not told', async (t) => {
  const none = '00000000-0000-4000-8000-000000000000';
  const hidden = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND' } as const;
  const own = uuidOf(await request(fay, { repository: 'elsewhere', scriptVersion: first }));
  await refused(t, server, () => fay.jobs.compareJobs({ a: made.a, b: own }), { ...hidden, naming: made.a });
  await refused(t, server, () => fay.jobs.compareJobs({ a: own, b: made.a }), { ...hidden, naming: made.a });
  await refused(t, server, () => ada.jobs.compareJobs({ a: made.a, b: none }), { ...hidden, naming: none });
  const badly = (asked: object, reason: string, field: string, naming: string) =>
    refused(t, server, () => ada.jobs.compareJobs({ a: made.a, b: made.b, ...asked }), {
      code: 'INVALID_ARGUMENT',
      reason,
      field,
      naming,
    });
  await badly({ a: 'x' }, 'BAD_UUID', 'a', '"x"');
  await badly({ b: '' }, 'REQUIRED', 'b', 'b is required');
  await badly({ maxDifferences: 1_001 }, 'OUT_OF_RANGE', 'max_differences', '1001');
  const apart = await root.jobs.compareJobs({ a: own, b: made.a });
  t.is(apart.code?.message, 'the jobs are of two repositories');
  t.is(apart.output?.outcome, CheckOutcome.PENDING);
});

test('what an event holds that only its owner may know is left out for others', async (t) => {
  const secret = uuidOf(
    await request(fay, { repository: 'elsewhere', scriptVersion: first, scriptParameters: { s: 1 } }),
  );
  const parent = uuidOf(await request(root, { scriptVersion: first, scriptParameters: { parent: 1 } }));
  const { consistencyToken } = await root.jobs.updateJob({
    job: { uuid: parent, components: { part: secret } },
    updateMask: { paths: ['components'] },
  });
  const component = async (who: Clients) =>
    (await who.jobs.compareJobs({ a: made.a, b: parent, consistencyToken })).differences.find(
      ({ field }) => field === 'components',
    )?.b;
  t.is(await component(root), JSON.stringify(secret));
  t.is(await component(eve), '""');
});

test('a commit that is gone is said to be, and the rest is compared', async (t) => {
  const gone = repository.commit({ 'lib/a.txt': 'gone\n' });
  const job = uuidOf(await request(ada, { scriptVersion: gone, scriptParameters: { n: 3 } }));
  const before = await ada.jobs.compareJobs({ a: made.a, b: job });
  t.true((before.code?.changes.length ?? 0) > 0);
  const file = join(repository.path, '.git', 'objects', gone.slice(0, 2), gone.slice(2));
  rmSync(file);
  const told = await ada.jobs.compareJobs({ a: made.a, b: job });
  t.regex(told.code?.message ?? '', new RegExp(gone));
  t.true(told.differences.length > 0);
});

test('memoir diff prints it, and tells by its exit code', async (t) => {
  const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'eve' };
  const said = await runMemoir(['diff', made.a.slice(0, 13), made.b], { env });
  t.is(said.code, 9, said.err);
  for (const line of [
    /^script_parameters\/n +3 +4$/m,
    /^lib\/new\.txt +\+1 -0 +added 100644$/m,
    /^3 paths differ, \+4 -2$/m,
    /^parameters +\d+ /m,
    /^a +[-0-9a-f]{36} +Complete +ada /m,
  ]) {
    t.regex(said.out, line);
  }
  const same = await runMemoir(['diff', made.a, made.c], { env });
  t.is(same.code, 0, same.out);
  t.regex(same.out, /nothing differs but how the runs went/);
  const open = uuidOf(await find(ada, { scriptVersion: first, scriptParameters: { open: 1 } }));
  const again = await runMemoir(['diff', open, open, '--json'], { env });
  t.is(again.code, 8);
  t.is((JSON.parse(again.out) as { a: { uuid: string } }).a.uuid, open);
  t.is((await runMemoir(['diff', made.a, '00000000-0000-4000-8000-000000000000'], { env })).code, 3);
});
