import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, type Refusal, refused } from '../support/refused.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

// All in a row, since each refusal compares the log's end before and after.

const project = makeProject();
project.repository.commit({ 'data/x': 'x' });
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');
const nobody = '00000000-0000-4000-8000-000000000000';

test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
});

const badUuid: Refusal = { code: 'INVALID_ARGUMENT', reason: 'BAD_UUID', field: 'uuid', naming: '"no-uuid"' };
const noUuid: Refusal = { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'uuid', naming: 'uuid is required' };
const noJob: Refusal = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: nobody };

type Wish = NonNullable<Parameters<typeof request>[1]>;

const long = (bytes: number) => 'x'.repeat(bytes);
const create: readonly [string, Wish, Refusal['reason'], string, string | RegExp][] = [
  ['no repository', { repository: '' }, 'REQUIRED', 'repository', 'repository is required'],
  ['an unknown repository', { repository: 'nope' }, 'UNKNOWN_REPOSITORY', 'repository', '"nope"'],
  ['a path as repository', { repository: '../project' }, 'UNKNOWN_REPOSITORY', 'repository', '"../project"'],
  ['an absolute path', { repository: project.repository.path }, 'UNKNOWN_REPOSITORY', 'repository', 'memoir-git-'],
  ['a URL as repository', { repository: 'file:///etc' }, 'UNKNOWN_REPOSITORY', 'repository', '"file:///etc"'],
  ['__proto__ as repository', { repository: '__proto__' }, 'UNKNOWN_REPOSITORY', 'repository', '"__proto__"'],
  ['constructor as repository', { repository: 'constructor' }, 'UNKNOWN_REPOSITORY', 'repository', '"constructor"'],
  ['another case', { repository: 'Project' }, 'UNKNOWN_REPOSITORY', 'repository', '"Project"'],
  ['a NUL in the repository', { repository: 'project\0' }, 'UNKNOWN_REPOSITORY', 'repository', '"project\\u0000"'],
  ['a long repository', { repository: long(256) }, 'TOO_LONG', 'repository', '256 bytes'],
  ['no script', { script: '' }, 'REQUIRED', 'script', 'script is required'],
  ['a script above the tree', { script: '../run.sh' }, 'BAD_SCRIPT', 'script', '"../run.sh"'],
  ['.. inside a script', { script: 'a/../../b' }, 'BAD_SCRIPT', 'script', '"a/../../b"'],
  ['an absolute script', { script: '/bin/sh' }, 'BAD_SCRIPT', 'script', '"/bin/sh"'],
  ['a directory as script', { script: 'bin/' }, 'BAD_SCRIPT', 'script', '"bin/"'],
  ['a dot as script', { script: './run.sh' }, 'BAD_SCRIPT', 'script', '"./run.sh"'],
  ['a NUL in the script', { script: 'run\0.sh' }, 'BAD_SCRIPT', 'script', '"run\\u0000.sh"'],
  ['a long script', { script: 'é'.repeat(2049) }, 'TOO_LONG', 'script', '4098 bytes'],
  ['no version', { scriptVersion: '' }, 'REQUIRED', 'script_version', 'script_version is required'],
  ['an unknown branch', { scriptVersion: 'nope' }, 'UNRESOLVABLE_REFSPEC', 'script_version', '"nope"'],
  ['an option', { scriptVersion: '--upload-pack=x' }, 'BAD_REFSPEC', 'script_version', '"--upload-pack=x"'],
  ['a range', { scriptVersion: 'old..main' }, 'BAD_REFSPEC', 'script_version', '"old..main"'],
  ['a ref as path', { scriptVersion: '../../config' }, 'BAD_REFSPEC', 'script_version', '"../../config"'],
  ['a NUL in the version', { scriptVersion: 'main\0' }, 'BAD_REFSPEC', 'script_version', '"main\\u0000"'],
  ['a line end', { scriptVersion: 'main\nold' }, 'BAD_REFSPEC', 'script_version', '"main\\nold"'],
  ['a shell', { scriptVersion: '$(reboot)' }, 'UNRESOLVABLE_REFSPEC', 'script_version', '"$(reboot)"'],
  ['a hash that is not there', { scriptVersion: '1'.repeat(40) }, 'UNRESOLVABLE_REFSPEC', 'script_version', '"1111'],
  ['a long version', { scriptVersion: long(4097) }, 'TOO_LONG', 'script_version', '4097 bytes'],
  ['a long submit_id', { submitId: long(257) }, 'TOO_LONG', 'submit_id', '257 bytes'],
  ['a long description', { description: long(65_537) }, 'TOO_LONG', 'description', '65537 bytes'],
  ['a component that is no uuid', { components: { a: 'b' } }, 'BAD_UUID', 'components', /"b" of "a"/],
  ['a component in capitals', { components: { a: nobody.replace('8', 'A') } }, 'BAD_UUID', 'components', '-A000-'],
  ['a component without name', { components: { '': nobody } }, 'REQUIRED', 'components', 'without a name'],
  ['a long name of a component', { components: { [long(257)]: nobody } }, 'TOO_LONG', 'components', '257 bytes'],
  [
    '1,001 components',
    { components: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`c${i}`, nobody])) },
    'TOO_MANY',
    'components',
    '1001 members',
  ],
  [
    'NaN',
    { scriptParameters: { a: [1, Number.NaN] } },
    'NOT_CANONICAL_JSON',
    'script_parameters',
    'script_parameters at "/a/1": NaN',
  ],
  [
    'infinity',
    { scriptParameters: { a: { b: -Infinity } } },
    'NOT_CANONICAL_JSON',
    'script_parameters',
    '"/a/b": -Infinity',
  ],
  [
    'an unknown image',
    { runtimeConstraints: { dockerImage: 'debian:12' } },
    'UNKNOWN_IMAGE',
    'runtime_constraints.docker_image',
    '"debian:12"',
  ],
  [
    'a tag without image',
    { runtimeConstraints: { dockerImageTag: 'latest' } },
    'NEEDS_DOCKER_IMAGE',
    'runtime_constraints.docker_image_tag',
    '"latest"',
  ],
  [
    'an SDK without image',
    { runtimeConstraints: { arvadosSdkVersion: 'main' } },
    'NEEDS_DOCKER_IMAGE',
    'runtime_constraints.arvados_sdk_version',
    '"main"',
  ],
  [
    'a script that is not there',
    { script: 'rnu.sh' },
    'SCRIPT_NOT_FOUND',
    'script',
    /"rnu\.sh" is not in .*near it are "run\.sh"/,
  ],
  ['a file as directory', { script: 'run.sh/x' }, 'SCRIPT_NOT_FOUND', 'script', '"run.sh/x"'],
  ['a directory as script of a commit', { script: 'data' }, 'SCRIPT_NOT_EXECUTABLE', 'script', '"data" in commit'],
  ['a script without the bit', { script: 'data/x' }, 'SCRIPT_NOT_EXECUTABLE', 'script', /"data\/x".* --chmod=\+x/],
  [
    'more nodes at least than at most',
    { runtimeConstraints: { minNodes: 3, maxNodes: 2 } },
    'BAD_CONSTRAINT',
    'runtime_constraints.min_nodes',
    '3 is more than max_nodes 2',
  ],
];

for (const [what, wish, reason, field, naming] of create) {
  for (const findOrCreate of [false, true]) {
    test(`CreateJob, find_or_create=${findOrCreate}, refuses ${what}`, async (t) => {
      const call = () => request(ada, { findOrCreate, submitId: 'kept for a good request', ...wish });
      await refused(t, server, call, { code: 'INVALID_ARGUMENT', reason, field, naming });
    });
  }
}

test('a submit_id of a refused request is free', async (t) => {
  const { reused } = await request(ada, { submitId: 'kept for a good request' });
  t.false(reused);
});

test('every method that reads a job refuses a bad, a missing and an unknown uuid', async (t) => {
  const calls: readonly ((uuid: string) => Promise<unknown>)[] = [
    (uuid) => ada.jobs.getJob({ uuid }),
    (uuid) => ada.jobs.cancelJob({ uuid }),
    (uuid) => ada.jobs.deleteJob({ uuid }),
    (uuid) => collect(ada.jobs.watchJob({ uuid })),
    (uuid) => collect(ada.jobs.tailJobLog({ uuid })),
    (uuid) => collect(ada.history.readHistory({ uuid })),
    (uuid) => bob.worker.heartbeat({ uuid }),
    (uuid) => bob.worker.completeJob({ uuid }),
    (uuid) => bob.worker.failJob({ uuid, reason: 'X' }),
    (uuid) => bob.worker.appendJobLog([{ uuid, text: 'a' }]),
  ];
  for (const call of calls) {
    await refused(t, server, () => call('no-uuid'), badUuid);
    await refused(t, server, () => call(''), noUuid);
    await refused(t, server, () => call(nobody), noJob);
  }
  await refused(t, server, () => bob.worker.claimJob({ uuid: 'no-uuid' }), badUuid);
  await refused(t, server, () => bob.worker.claimJob({ uuid: nobody }), noJob);
  await refused(t, server, () => bob.worker.appendJobLog([]), noUuid);
});

test('GetJob takes a uuid in capitals', async (t) => {
  const made = await request(ada);
  const { consistencyToken } = made;
  const uuid = uuidOf(made);
  t.is((await ada.jobs.getJob({ uuid: uuid.toUpperCase(), consistencyToken })).job?.uuid, uuid);
});

test('UpdateJob refuses masks and values', async (t) => {
  const uuid = uuidOf(await request(ada, { priority: 1, description: 'before' }));
  const update =
    (paths: string[], more: object = {}, expectedRevision?: number) =>
    () =>
      ada.jobs.updateJob({
        job: { uuid, ...more },
        updateMask: { paths },
        ...(expectedRevision !== undefined && { expectedRevision }),
      });
  const bad = (reason: string, field: string, naming: string): Refusal => ({
    code: 'INVALID_ARGUMENT',
    reason,
    field,
    naming,
  });
  await refused(t, server, () => ada.jobs.updateJob({}), bad('REQUIRED', 'job', 'job is required'));
  await refused(
    t,
    server,
    () => ada.jobs.updateJob({ job: {}, updateMask: { paths: ['priority'] } }),
    bad('REQUIRED', 'job.uuid', 'required'),
  );
  await refused(
    t,
    server,
    () => ada.jobs.updateJob({ job: { uuid } }),
    bad('REQUIRED', 'update_mask', 'names no field'),
  );
  for (const path of ['owner', 'state', 'output', 'uuid', '*', '__proto__', 'components.a', 'Priority']) {
    await refused(t, server, update([path, 'priority']), bad('FIELD_NOT_MUTABLE', 'update_mask', JSON.stringify(path)));
  }
  const description = long(65_537);
  await refused(t, server, update(['description'], { description }), bad('TOO_LONG', 'job.description', '65537 bytes'));
  const components = { a: 'x' };
  await refused(t, server, update(['components'], { components }), bad('BAD_UUID', 'job.components', '"x" of "a"'));
  await refused(t, server, update(['priority'], { priority: 2 }, 7), {
    code: 'ABORTED',
    reason: 'REVISION_MISMATCH',
    naming: 'is at revision 0, not at 7',
  });
  const { job } = await ada.jobs.getJob({ uuid });
  t.deepEqual([job?.priority, job?.description, job?.revision], [1, 'before', 0]);
  t.is((await update(['priority'], { priority: 2 }, 0)()).job?.priority, 2);
});

test('states that do not allow a command refuse it and name both', async (t) => {
  const queued = uuidOf(await request(ada));
  const complete1 = uuidOf(await request(ada));
  await complete(bob, complete1);
  const running = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid: running });
  const wrong = (uuid: string, from: string, to: string): Refusal => ({
    code: 'FAILED_PRECONDITION',
    reason: 'WRONG_STATE',
    naming: `job ${uuid} is ${from} and cannot become ${to}`,
  });
  const work = bob.worker;
  await refused(t, server, () => work.claimJob({ uuid: running }), wrong(running, 'Running', 'Running'));
  await refused(t, server, () => work.claimJob({ uuid: complete1 }), wrong(complete1, 'Complete', 'Running'));
  await refused(t, server, () => work.completeJob({ uuid: queued }), wrong(queued, 'Queued', 'Complete'));
  await refused(t, server, () => work.completeJob({ uuid: complete1 }), wrong(complete1, 'Complete', 'Complete'));
  await refused(t, server, () => work.failJob({ uuid: queued, reason: 'X' }), wrong(queued, 'Queued', 'Failed'));
  await refused(t, server, () => ada.jobs.cancelJob({ uuid: complete1 }), wrong(complete1, 'Complete', 'Cancelled'));
  for (const uuid of [queued, running]) {
    await refused(t, server, () => ada.jobs.deleteJob({ uuid }), {
      code: 'FAILED_PRECONDITION',
      reason: 'JOB_NOT_FINISHED',
      naming: uuid === queued ? 'is Queued' : 'is Running',
    });
  }
  for (const [uuid, state] of [
    [queued, 'Queued'],
    [complete1, 'Complete'],
  ] as const) {
    await refused(t, server, () => work.appendJobLog([{ uuid, text: 'x' }]), {
      code: 'FAILED_PRECONDITION',
      reason: 'WRONG_STATE',
      naming: `is ${state}`,
    });
  }
});

test('a worker that does not hold the job is refused', async (t) => {
  const uuid = uuidOf(await request(ada));
  const cleo = server.as('cleo').worker;
  const denied: Refusal = { code: 'PERMISSION_DENIED', reason: 'NOT_YOUR_JOB', naming: uuid };
  await refused(t, server, () => cleo.heartbeat({ uuid }), denied);
  await bob.worker.claimJob({ uuid });
  await refused(t, server, () => cleo.heartbeat({ uuid }), denied);
  await refused(t, server, () => cleo.completeJob({ uuid, output: 'o', log: 'l' }), denied);
  await refused(t, server, () => cleo.failJob({ uuid, reason: 'X' }), denied);
  await refused(t, server, () => cleo.appendJobLog([{ uuid, text: 'x' }]), denied);
});

test('the worker methods refuse values out of bounds', async (t) => {
  const uuid = uuidOf(await request(ada));
  const range = (field: string, naming: string): Refusal => ({
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field,
    naming,
  });
  const { worker } = bob;
  const huge = { seconds: 2n ** 63n - 1n, nanos: 0 };
  await refused(t, server, () => worker.claimJob({ uuid, lease: { nanos: 999_000_000 } }), range('lease', '0.999 s'));
  await refused(t, server, () => worker.claimJob({ uuid, lease: { seconds: 3601n } }), range('lease', '3601 s'));
  await refused(t, server, () => worker.claimJob({ uuid, lease: { seconds: -5n } }), range('lease', '-5 s'));
  await refused(t, server, () => worker.claimJob({ uuid, lease: huge }), range('lease', 'lease of 922'));
  await refused(t, server, () => worker.claimJob({ wait: { seconds: 301n } }), range('wait', '301 s'));
  await refused(t, server, () => worker.claimJob({ wait: { nanos: -1_000_000 } }), range('wait', '-0.001 s'));
  await refused(t, server, () => worker.claimJob({ repositories: Array(1001).fill('project') }), {
    code: 'INVALID_ARGUMENT',
    reason: 'TOO_MANY',
    field: 'repositories',
    naming: '1001',
  });
  await worker.claimJob({ uuid });
  await refused(t, server, () => worker.heartbeat({ uuid, lease: { nanos: 1 } }), range('lease', '0 s'));
  for (const progress of [-0.1, 1.1, Number.NaN, Infinity]) {
    await refused(t, server, () => worker.heartbeat({ uuid, progress }), range('progress', String(progress)));
  }
  const tooLong = (field: string): Refusal => ({ code: 'INVALID_ARGUMENT', reason: 'TOO_LONG', field, naming: field });
  const text = long(4097);
  await refused(t, server, () => worker.heartbeat({ uuid, progressMessage: text }), tooLong('progress_message'));
  await refused(t, server, () => worker.completeJob({ uuid, output: text }), tooLong('output'));
  await refused(t, server, () => worker.completeJob({ uuid, log: text }), tooLong('log'));
  await refused(t, server, () => worker.failJob({ uuid, reason: 'X', log: text }), tooLong('log'));
  await refused(t, server, () => worker.failJob({ uuid, reason: 'X', message: long(65_537) }), tooLong('message'));
  await refused(t, server, () => worker.failJob({ uuid, reason: 'X'.repeat(65) }), tooLong('reason'));
  await refused(t, server, () => worker.failJob({ uuid }), {
    code: 'INVALID_ARGUMENT',
    reason: 'REQUIRED',
    field: 'reason',
  });
  for (const reason of ['lower', 'TWO WORDS', '1ST', 'X\n']) {
    const naming = JSON.stringify(reason);
    const badReason: Refusal = { code: 'INVALID_ARGUMENT', reason: 'BAD_REASON', field: 'reason', naming };
    await refused(t, server, () => worker.failJob({ uuid, reason }), badReason);
  }
  await refused(t, server, () => worker.appendJobLog([{ uuid, text: long(1024 * 1024 + 1) }]), tooLong('text'));
});

test('a live log of two jobs in one stream is refused', async (t) => {
  const [one, other] = [uuidOf(await request(ada)), uuidOf(await request(ada))];
  for (const uuid of [one, other]) await bob.worker.claimJob({ uuid });
  const mixed = () =>
    bob.worker.appendJobLog([
      { uuid: one, text: '' },
      { uuid: other, text: 'x' },
    ]);
  await refused(t, server, mixed, {
    code: 'INVALID_ARGUMENT',
    reason: 'UUID_CHANGED',
    field: 'uuid',
    naming: other,
  });
});

test('pages and tokens that no server gave are refused', async (t) => {
  const forged = (text: string) => Buffer.from(text).toString('base64url');
  const tokens = [
    'x',
    '!',
    forged('1'),
    forged('1,2,3'),
    forged('1,x'),
    forged('1, 2'),
    forged('01,2'),
    forged('1e3,2'),
    forged('NaN,1'),
    forged('Infinity,1'),
    forged('9007199254740993,1'),
    forged('1.5,2'),
    `${forged('1,2')}=`,
    '\0',
    '1) OR 1=1',
  ];
  for (const pageToken of tokens) {
    const bad: Refusal = { code: 'INVALID_ARGUMENT', reason: 'BAD_TOKEN', field: 'page_token' };
    await refused(t, server, () => ada.jobs.listJobs({ pageToken }), bad);
    await refused(t, server, () => ada.jobs.getQueue({ pageToken }), bad);
  }
  const size: Refusal = { code: 'INVALID_ARGUMENT', reason: 'OUT_OF_RANGE', field: 'page_size', naming: '1001' };
  await refused(t, server, () => ada.jobs.listJobs({ pageSize: 1001 }), size);
  await refused(t, server, () => ada.jobs.getQueue({ pageSize: 1001 }), size);
  const uuid = uuidOf(await request(ada));
  const end = await server.end();
  for (const consistencyToken of [String(end + 1), '-1', '1.5', 'x', '1e1', ' 1', '9'.repeat(16), '9'.repeat(40)]) {
    const bad: Refusal = {
      code: 'INVALID_ARGUMENT',
      reason: 'BAD_TOKEN',
      field: 'consistency_token',
      naming: JSON.stringify(consistencyToken),
    };
    await refused(t, server, () => ada.jobs.getJob({ uuid, consistencyToken }), bad);
    await refused(t, server, () => ada.jobs.listJobs({ consistencyToken }), bad);
    await refused(t, server, () => ada.jobs.getQueue({ consistencyToken }), bad);
    await refused(t, server, () => ada.jobs.getQueueSize({ consistencyToken }), bad);
    await refused(t, server, () => collect(ada.jobs.watchJob({ uuid, consistencyToken })), bad);
  }
});

test('TailJobLog refuses an offset beyond any log', async (t) => {
  const uuid = uuidOf(await request(ada));
  const call = () => collect(ada.jobs.tailJobLog({ uuid, offset: 2n ** 64n - 1n, noFollow: true }));
  await refused(t, server, call, {
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field: 'offset',
    naming: '18446744073709551615',
  });
});

test('a deleted job is found by no method but ReadHistory', async (t) => {
  const uuid = uuidOf(await request(ada));
  await complete(bob, uuid);
  const { consistencyToken } = await ada.jobs.deleteJob({ uuid });
  const gone: Refusal = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: uuid };
  await refused(t, server, () => ada.jobs.getJob({ uuid, consistencyToken }), gone);
  const job = { uuid, priority: 1 };
  const calls: readonly (() => Promise<unknown>)[] = [
    () => ada.jobs.cancelJob({ uuid }),
    // Repeated by who deleted it, it is answered as the first time; see below.
    () => bob.jobs.deleteJob({ uuid }),
    () => ada.jobs.updateJob({ job, updateMask: { paths: ['priority'] } }),
    () => collect(ada.jobs.watchJob({ uuid })),
    () => collect(ada.jobs.tailJobLog({ uuid })),
    () => bob.worker.claimJob({ uuid }),
    () => bob.worker.heartbeat({ uuid }),
    () => bob.worker.completeJob({ uuid }),
    () => bob.worker.failJob({ uuid, reason: 'X' }),
    () => bob.worker.appendJobLog([{ uuid, text: 'x' }]),
  ];
  for (const call of calls) await refused(t, server, call, gone);
  await t.notThrowsAsync(ada.jobs.deleteJob({ uuid }));
  const { jobs } = await ada.jobs.listJobs({ consistencyToken });
  t.false(jobs.some((listed) => listed.uuid === uuid));
  const events = await collect(ada.history.readHistory({ uuid }));
  t.is(events.at(-1)?.event?.eventType, 'JobDeleted');
  t.true((events.at(-1)?.event?.recordedAt?.seconds ?? 0n) <= timestampNow().seconds);
});

test('a script is looked for only where a job would be made, and nothing is refused that cannot be told', async (t) => {
  const made = await request(ada, { findOrCreate: true, scriptParameters: { objects: 'there' } });
  const explain = (scriptParameters: JsonObject, script = 'run.sh') =>
    ada.jobs.explainReuse({
      request: { repository: 'project', script, scriptVersion: 'main', findOrCreate: true, scriptParameters },
    });
  t.is((await failure(t, () => explain({}, 'rnu.sh'))).reason, 'SCRIPT_NOT_FOUND');
  const own = makeProject();
  const { git, path } = own.repository;
  const other = await startTestServer({ repositories: { project: path } });
  t.teardown(async () => {
    await other.dispose();
    own.repository.dispose();
  });
  const eve = other.as('eve');
  const first = await request(eve, { findOrCreate: true });
  await other.restart();
  const tree = git('rev-parse', 'HEAD^{tree}');
  rmSync(join(path, '.git/objects', tree.slice(0, 2), tree.slice(2)));
  const again = other.as('eve');
  t.is(uuidOf(await request(again, { findOrCreate: true })), uuidOf(first));
  t.false((await request(again, { findOrCreate: true, script: 'rnu.sh' })).reused);
  t.is((await explain({ objects: 'there' })).job?.uuid, uuidOf(made));
});
