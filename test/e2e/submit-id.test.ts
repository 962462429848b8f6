import { Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
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

const own = (name: string) => ({ submitId: name, scriptParameters: { test: name } });

test('a retry is answered with the job of the first try and records nothing', async (t) => {
  const first = await request(ada, own('retry'));
  t.false(first.reused);
  for (let i = 0; i < 3; i++) {
    const again = await request(ada, own('retry'));
    t.is(uuidOf(again), uuidOf(first));
    t.true(again.reused);
    t.is(again.decision?.outcome, Outcome.RETRIED);
    t.is(again.decision?.uuid, uuidOf(first));
    t.true(again.decision?.summary.includes('"retry"'));
  }
  const events = await collect(ada.history.readHistory({ uuid: uuidOf(first) }));
  t.is(events.length, 1);
});

test('a retry is answered so whatever became of the job and of the branch', async (t) => {
  const { repository } = project;
  repository.git('branch', 'moving', 'old');
  const first = await request(ada, { scriptVersion: 'moving', ...own('moving') });
  t.is(first.job?.scriptVersion, project.first);
  repository.git('branch', '--force', 'moving', 'main');
  await fail(bob, uuidOf(first));
  const again = await request(ada, { scriptVersion: 'moving', ...own('moving') });
  t.is(uuidOf(again), uuidOf(first));
  t.is(again.job?.scriptVersion, project.first);
  t.is(again.job?.failureReason, 'SCRIPT_FAILED');
});

test('the order of names in a retry is irrelevant, and absent parameters are the same as none', async (t) => {
  const components = { b: '00000000-0000-4000-8000-000000000001', a: '00000000-0000-4000-8000-000000000002' };
  const first = await request(ada, { submitId: 'order', scriptParameters: { a: 1, b: { c: 2, d: 3 } }, components });
  const again = await request(ada, {
    submitId: 'order',
    scriptParameters: { b: { d: 3, c: 2 }, a: 1 },
    components: { a: components.a, b: components.b },
  });
  t.is(uuidOf(again), uuidOf(first));
  const absent = await request(ada, { submitId: 'absent' });
  const none = await request(ada, { submitId: 'absent', scriptParameters: {} });
  t.is(uuidOf(none), uuidOf(absent));
});

test('the same submit_id with other content is refused, and names the job that has it', async (t) => {
  const wish = { ...own('other'), priority: 1, description: 'a' };
  const first = uuidOf(await request(ada, wish));
  const others: Parameters<typeof request>[1][] = [
    { ...wish, priority: 2 },
    { ...wish, description: 'b' },
    { ...wish, scriptParameters: { test: 'another' } },
    { ...wish, scriptVersion: 'old' },
    // The same commit under another name is still another request.
    { ...wish, scriptVersion: project.second },
    { ...wish, script: 'other.sh' },
    { ...wish, findOrCreate: true },
    { ...wish, nondeterministic: true },
    { ...wish, runtimeConstraints: { minNodes: 1 } },
    { ...wish, components: { a: first } },
  ];
  for (const other of others) {
    const error = await failure(t, () => request(ada, other));
    t.is(error.code, 6);
    t.is(error.reason, 'SUBMIT_ID_USED');
    t.deepEqual(error.metadata, { uuid: first });
    t.true(error.message.includes('"other"') && error.message.includes(first), error.message);
  }
});

test('a submit_id is the own of each owner', async (t) => {
  const adas = uuidOf(await request(ada, own('shared')));
  const bobs = uuidOf(await request(bob, { ...own('shared'), priority: 5 }));
  t.not(adas, bobs);
  t.is(uuidOf(await request(ada, own('shared'))), adas);
  t.is(uuidOf(await request(bob, { ...own('shared'), priority: 5 })), bobs);
});

test('no principal and submit_id can be put together to look like another', async (t) => {
  const made = new Set<string>();
  for (const [principal, submitId] of [
    ['a', 'b c'],
    ['a"', 'b'],
    ['a","b', 'c'],
    ['a', '","b'],
    ['a', 'b\0c'],
    ['a', 'b\0d'],
    ['a', 'b'],
    ['a', '__proto__'],
    ['__proto__', 'b'],
  ] as const) {
    const answer = await request(server.as(principal), { ...own('composed'), submitId });
    t.false(answer.reused);
    t.is(answer.job?.submitId, submitId);
    made.add(uuidOf(answer));
  }
  t.is(made.size, 9);
});

test('concurrent tries of one request make one job', async (t) => {
  for (const findOrCreate of [false, true]) {
    const wish = { ...own(`concurrent ${findOrCreate}`), findOrCreate };
    const answers = await Promise.all(Array.from({ length: 50 }, () => request(ada, wish)));
    t.is(new Set(answers.map(uuidOf)).size, 1);
    t.is(answers.filter(({ reused }) => !reused).length, 1);
    t.is(answers[0]?.job?.runNumber, 1);
  }
});

test('of concurrent requests with one submit_id and different content one is taken, the others are refused', async (t) => {
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => request(ada, { ...own('race'), scriptParameters: { i } })),
  );
  t.is(tries.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('a retry of a request that was answered with a past job is answered with it again', async (t) => {
  const past = uuidOf(await request(ada, { scriptParameters: { test: 'hit' } }));
  await complete(bob, past);
  for (const outcome of [Outcome.REUSED_COMPLETE, Outcome.RETRIED, Outcome.RETRIED]) {
    const answer = await find(ada, own('hit'));
    t.is(uuidOf(answer), past);
    t.is(answer.decision?.outcome, outcome);
  }
  const reuses = (await collect(ada.history.readHistory({ uuid: past }))).map(({ event }) => event?.eventType);
  t.is(reuses.filter((type) => type === 'JobReused').length, 1, 'a retry records nothing');
  // It is remembered as one that made a job is: other content is refused.
  const error = await failure(t, () => find(ada, { ...own('hit'), priority: 7 }));
  t.deepEqual([error.reason, error.metadata], ['SUBMIT_ID_USED', { uuid: past }]);
});

test('a retry of a request whose job was deleted is refused and makes no other', async (t) => {
  const uuid = uuidOf(await request(ada, own('deleted')));
  await complete(bob, uuid);
  await ada.jobs.deleteJob({ uuid });
  const error = await failure(t, () => request(ada, own('deleted')));
  t.is(error.code, 9);
  t.is(error.reason, 'JOB_DELETED');
  t.true(error.message.includes(uuid));
});

test('a retry after a restart, and after the read model was lost, is answered with the first job', async (t) => {
  const stopping = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => stopping.dispose());
  const first = uuidOf(await request(stopping.as('ada'), own('restart')));
  await stopping.restart();
  t.is(uuidOf(await request(stopping.as('ada'), own('restart'))), first);
  await stopping.stop();
  loseReadModel(stopping.config);
  await stopping.restart();
  t.is(uuidOf(await request(stopping.as('ada'), own('restart'))), first);
  const error = await failure(t, () => request(stopping.as('ada'), { ...own('restart'), priority: 1 }));
  t.is(error.reason, 'SUBMIT_ID_USED');
});
